"""Learns how MediaPipe's landmarks of photos differ from the same points of the face model.

    python tools/calibrate_landmarks.py ../shared/data src/instaface/assets/landmarks_openhead.npz

The landmarks were placed on the mesh where the network sees them in renders. In photos it sees some of them (brows, the
hairline) elsewhere, and the mean face of photos is not the model's. Both would come out as expressions that nobody
makes. So the mean over many faces that hardly smile, all groups and both genders alike, is taken to be a relaxed face:
what landmarks show of it beyond the model's mean is explained by a mean identity as far as a face can have it, and by
an offset of the landmarks for the rest. Faces of the validation set are left out. The same input gives the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from instaface.face import Camera, OpenHead
from instaface.photo import read_photo
from instaface.track.detect import detect
from instaface.track.fit import N_LANDMARKS, Calibration, Fit, fit, interocular, reduced_basis, rotation
from instaface.track.landmarks import find_landmarks

VALIDATION = 18  # faces whose number is divisible by this are never learned from
PER_GROUP = 25  # faces of each group and gender
ROUNDS = 5
SMILING = ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "mouthUpperUpLeft", "mouthUpperUpRight")
IDENTITY = 0.3  # standard deviation of the mean face's coefficients
OFFSET = 0.1  # centimetres, of a landmark that renders place well
LOOSE = 1.0  # and of one that they do not
# fmt: off
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
HAIRLINE = (10, 338, 297, 332, 284, 251, 389, 109, 67, 103, 54, 21, 162)
FOREHEAD = (151, 108, 69, 104, 68, 71, 139, 337, 299, 333, 298, 301, 368)
# fmt: on


def sampled(data: Path) -> list[Path]:
    """Training faces, as many of each group and gender."""
    groups: dict[tuple[str, str], list[Path]] = {}
    with (data / "faces.csv").open() as rows:
        for row in csv.DictReader(rows):
            if int(Path(row["file"]).stem) % VALIDATION:
                groups.setdefault((row["group"], row["gender"]), []).append(data / "faces" / row["file"])
    return [path for paths in groups.values() for path in paths[:: max(1, len(paths) // (3 * PER_GROUP))]]


def observed(paths: list[Path]) -> Iterator[tuple[NDArray[np.float64], Camera]]:
    """Landmarks and camera of each photo with a face."""
    for path in paths:
        photo = read_photo(path)
        faces = [find_landmarks(photo.pixels, face) for face in detect(photo.pixels)]
        if faces and faces[0] is not None:
            yield faces[0].points.astype(np.float64), Camera.for_photo(photo.width, photo.height)


def relaxed(found: list[Fit], names: tuple[str, ...]) -> list[int]:
    """Indices of faces that look at the camera and hardly smile."""
    smiling = [names.index(name) for name in SMILING]
    smiles = np.array([fit.expression[smiling].max() for fit in found])
    turned = np.array([np.abs(fit.head).max() for fit in found])
    return [int(i) for i in np.argsort(smiles) if turned[i] < 15][: len(found) // 3]


def model_space(found: Fit, landmarks: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """(L, 3) from fitted to found landmarks, parallel to the picture, as an offset of the unposed model."""
    pixels = (landmarks - found.projected) * (-found.translation[2] - 9) / camera.focal  # the face is before the neck
    turn, _ = rotation(np.deg2rad(found.head))
    return np.column_stack([pixels[:, 0], -pixels[:, 1], np.zeros(len(pixels))]) @ turn


def explained(rest: NDArray[np.float64], identity: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Splits a mean displacement (L, 3) into coefficients (I,) and offsets (L, 3); depth is not seen."""
    spread = np.full(N_LANDMARKS, OFFSET)
    spread[[*BROWS, *HAIRLINE, *FOREHEAD]] = LOOSE
    rows = (identity[:, :, :2] / spread[:, None]).reshape(len(identity), -1)
    gram = rows @ rows.T + np.eye(len(rows)) / IDENTITY**2
    coefficients = np.linalg.solve(gram, rows @ (rest[:, :2] / spread[:, None]).ravel())
    offset = rest - np.tensordot(coefficients, identity, 1)
    offset[:, 2] = 0
    return coefficients, offset


def without_size(shown: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """A displacement (L, 3) without what moves or grows the whole face: a photo does not show its size."""
    centred, arm = shown - shown.mean(0), mean - mean.mean(0)
    growth = (centred[:, :2] * arm[:, :2]).sum() / (arm[:, :2] ** 2).sum()
    return centred - growth * arm


def main(data: Path, output: Path) -> None:
    """Reads DATA/faces and writes OUTPUT."""
    model = OpenHead.load()
    full = model.landmark_basis("mediapipe")
    identity, expression = full.identity.astype(np.float64), full.expression.astype(np.float64)
    faces = list(observed(sampled(data)))
    nothing, known = Calibration.none(model), output.exists()
    seen = Calibration.load(model).expression if known else nothing.expression  # of calibrate_expressions.py
    calibration = Calibration(nothing.offset, nothing.identity, seen, nothing.turns)
    for step in range(ROUNDS):
        basis = reduced_basis(model, calibration)
        found = [fit(basis, *face) for face in faces]
        calm = relaxed(found, model.expression_names)
        left = np.median([model_space(found[i], *faces[i]) for i in calm], 0)
        posed = np.mean([found[i].expression for i in calm], 0)
        people = np.mean([found[i].identity for i in calm], 0)
        # What a relaxed mean face shows beyond the model's mean: offsets so far, and what was taken for other things.
        shown = calibration.offset + left + np.tensordot(posed, expression, 1) + np.tensordot(people, identity, 1)
        mean, offset = explained(without_size(shown, full.mean.astype(np.float64)), identity)
        calibration = Calibration(offset, mean, calibration.expression, nothing.turns)
        top = sorted(zip(posed, model.expression_names, strict=True), reverse=True)[:4]
        error, moved = np.median([f.error for f in found]), np.percentile(10 * np.abs(offset), [50, 90, 100])
        print(f"round {step}: {len(calm)} faces, error {error:.2f} %, identity {np.abs(people).max():.2f}")
        print("  mean expression", *(f"{name} {weight:.2f}" for weight, name in top), "offsets mm", moved.round(2))
    still = (full.eye >= 0)[:, None]
    np.savez_compressed(
        output,
        offset=np.where(still, 0, offset).astype(np.float32),
        identity=mean.astype(np.float32),
        expression=calibration.expression.astype(np.float16),
    )
    print(f"wrote {output}; the inter-ocular distance is {interocular(full.mean[:, :2]):.1f} cm")


if __name__ == "__main__":
    typer.run(main)
