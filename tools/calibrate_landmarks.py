"""Learns how MediaPipe's landmarks of photos differ from the same points of the face model.

    python tools/calibrate_landmarks.py ../shared/data src/instaface/assets/landmarks_openhead.npz

The landmarks were placed on the mesh where the network sees them in renders. In photos it sees some of them (brows, the
hairline) elsewhere, and the mean face of photos is not the model's. Both would come out as expressions that nobody
makes. So the mean over many faces that hardly smile, all groups and both genders alike, is taken to be a relaxed face:
what landmarks show of it beyond the model's mean is explained by a mean identity as far as a face can have it, and by
an offset of the landmarks for the rest. At last the slight smile that even those wear for the camera is taken out
of it: with it, a serious mouth would be read as a frown, and a smile as half of one. Faces of the validation set are
left out. The same input gives the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
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
SMILES = ("mouthSmileLeft", "mouthSmileRight")
IDENTITY = 0.3  # standard deviation of the mean face's coefficients
PLAIN_IDENTITY = 0.15  # once the smile, which it had to stand for, is known
SMILE = 1.0  # standard deviation of the weight of the smile
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


def explained(
    rest: NDArray[np.float64], causes: NDArray[np.float64], spreads: NDArray[np.float64]
) -> tuple[NDArray, NDArray]:
    """Splits a mean displacement (L, 3) into coefficients (I,) and offsets (L, 3); depth is not seen.

    Args:
        rest: the displacement.
        causes: (I, L, 3) by one unit of each coefficient.
        spreads: (I,) standard deviations of the coefficients.
    """
    trusted = np.full(N_LANDMARKS, OFFSET)
    trusted[[*BROWS, *HAIRLINE, *FOREHEAD]] = LOOSE
    rows = (causes[:, :, :2] / trusted[:, None]).reshape(len(causes), -1)
    gram = rows @ rows.T + np.diag(1 / spreads**2)
    coefficients = np.linalg.solve(gram, rows @ (rest[:, :2] / trusted[:, None]).ravel())
    offset = rest - np.tensordot(coefficients, causes, 1)
    offset[:, 2] = 0
    return coefficients, offset


def without_smile(calibration: Calibration, model: OpenHead) -> Calibration:
    """The calibration for a mean face that does not smile: what a smile explains of its displacement is left out."""
    identity = model.landmark_basis("mediapipe").identity.astype(np.float64)
    smile = calibration.expression[[model.expression_names.index(name) for name in SMILES]].sum(0)
    shown = calibration.offset + np.tensordot(calibration.identity, identity, 1)
    spreads = np.array([PLAIN_IDENTITY] * len(identity) + [SMILE])
    found, offset = explained(shown, np.concatenate([identity, smile[None]]), spreads)
    print(f"slight smile of the relaxed faces: {found[-1]:.2f}; identity {np.abs(found[:-1]).max():.2f}")
    return replace(calibration, offset=offset, identity=found[:-1])


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
        spreads = np.full(len(identity), IDENTITY)
        mean, offset = explained(without_size(shown, full.mean.astype(np.float64)), identity, spreads)
        calibration = Calibration(offset, mean, calibration.expression, nothing.turns)
        top = sorted(zip(posed, model.expression_names, strict=True), reverse=True)[:4]
        error, moved = np.median([f.error for f in found]), np.percentile(10 * np.abs(offset), [50, 90, 100])
        print(f"round {step}: {len(calm)} faces, error {error:.2f} %, identity {np.abs(people).max():.2f}")
        print("  mean expression", *(f"{name} {weight:.2f}" for weight, name in top), "offsets mm", moved.round(2))
    calibration = without_smile(calibration, model)
    turns = Calibration.load(model).turns if known else nothing.turns  # of calibrate_turns.py
    still = (full.eye >= 0)[:, None]
    np.savez_compressed(
        output,
        offset=np.where(still, 0, calibration.offset).astype(np.float32),
        identity=calibration.identity.astype(np.float32),
        expression=calibration.expression.astype(np.float16),
        turns=turns.astype(np.float32),
    )
    print(f"wrote {output}; the inter-ocular distance is {interocular(full.mean[:, :2]):.1f} cm")


if __name__ == "__main__":
    typer.run(main)
