"""Learns to recognise glasses from portraits.

    python tools/build_glasses.py --faces ../shared/data/faces --output src/instaface/assets/glasses.npz

A linear model (logistic regression, L2) over the histograms of oriented gradients of ``track/glasses.py``. The
portraits that wear glasses were told apart by eye; all others are taken to wear none. Numbers divisible by 18 are left
out of what is learned. Prints what portraits score that were left out in turn (five folds). Takes some minutes on one
core.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from instaface.photo import read_photo
from instaface.track.detect import detect
from instaface.track.glasses import CERTAIN, OUTER_CORNERS, STRIP, _alignment, features
from instaface.track.landmarks import find_landmarks

ROOT = Path(__file__).resolve().parents[1]
WEARERS = frozenset(
    {
        *(60, 73, 92, 112, 312, 354, 500, 635, 1196, 1282, 1376, 1546, 2447, 2451, 2454, 2455, 2456, 2465, 2485, 2509),
        *(
            2522,
            2535,
            2555,
            2561,
            2563,
            2604,
            2731,
            2803,
            2815,
            2821,
            2866,
            2907,
            2908,
            2912,
            2935,
            2936,
            2950,
            2972,
            2977,
        ),
        *(3039, 3057, 3063, 3147, 3165, 3191, 3216, 3265, 3293, 3374, 3401, 3482, 3530, 3543, 3581),
    }
)
PENALTY = 3.0
FOLDS = 5


def strip_features(path: Path) -> NDArray[np.float32] | None:
    """Features of the face in a portrait, None where there is none."""
    pixels = read_photo(path).pixels
    detections = detect(pixels)
    found = find_landmarks(pixels, detections[0]) if detections else None
    if found is None:
        return None
    to_picture = _alignment(*found.points[list(OUTER_CORNERS)])
    return features(cv2.warpAffine(pixels, to_picture, STRIP, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))


def learn(samples: NDArray[np.float64], wears: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights (D,) and bias of a logistic regression; the rarer kind counts more."""
    mean, y = samples.mean(0), wears.astype(float)
    centred = samples - mean
    counts = np.where(wears, ((1 - y.mean()) / y.mean()) ** 0.7, 1.0)

    def loss(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = centred @ p[:-1] + p[-1]
        error = counts * (1 / (1 + np.exp(-z)) - y)
        value = (counts * (np.logaddexp(0, z) - y * z)).sum() + PENALTY / 2 * (p[:-1] ** 2).sum()
        return value, np.append(centred.T @ error + PENALTY * p[:-1], error.sum())

    p = minimize(loss, np.zeros(samples.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    return p[:-1], float(p[-1] - p[:-1] @ mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("INSTAFACE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--faces", type=Path, default=data / "faces")
    parser.add_argument("--output", type=Path, default=ROOT / "src/instaface/assets/glasses.npz")
    arguments = parser.parse_args()
    paths = [path for path in sorted(arguments.faces.glob("*.jpg")) if int(path.stem) % 18]
    found = {int(path.stem): sample for path in paths if (sample := strip_features(path)) is not None}
    numbers, samples = np.array(list(found)), np.array(list(found.values()), np.float64)
    wears, scores = np.isin(numbers, list(WEARERS)), np.zeros(len(numbers))
    for fold in range(FOLDS):
        out = np.arange(len(numbers)) % FOLDS == fold
        weights, bias = learn(samples[~out], wears[~out])
        scores[out] = samples[out] @ weights + bias
    print(
        f"left out in turn, above {CERTAIN}: {(scores[wears] > CERTAIN).sum()} of {wears.sum()} with glasses, "
        f"{(scores[~wears] > CERTAIN).sum()} of {(~wears).sum()} without"
    )
    weights, bias = learn(samples, wears)
    np.savez(arguments.output, weights=weights.astype(np.float32), bias=np.float32(bias))
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
