"""Learns how far MediaPipe's landmarks follow a head that turns.

    python tools/calibrate_turns.py ../shared/data src/instaface/assets/landmarks_openhead.npz [--faces 40]

The landmark network pulls raised and lowered heads towards the usual pose: their landmarks move less than the head
does, and a fit that took them at their word would see two thirds of a nod. So training faces are turned by the
geometric edit, by known angles; what their landmarks lack, as an offset in the head's own space that grows with the
angle, is stored beside the other calibration. Run after ``calibrate_landmarks.py`` and ``calibrate_expressions.py``.
Faces of the validation set are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from calibrate_landmarks import model_space, sampled
from instaface.draft import draft, take_apart
from instaface.face import OpenHead
from instaface.track import TrackedFace, track
from instaface.track.detect import detect
from instaface.track.fit import Basis, Calibration, Fit, predicted, reduced_basis
from instaface.track.landmarks import find_landmarks

TURNS = {0: (-25, -12, 12, 25), 1: (-18, -9, 9, 18)}  # degrees of yaw and pitch added


def lacking(face: TrackedFace, model: OpenHead) -> list[tuple[int, float, NDArray[np.float64]]]:
    """(axis, radians, (L, 3) offsets of the found from the expected landmarks) for each turn of one face."""
    basis = reduced_basis(model, Calibration.load(model).without_turns())
    scene, start = take_apart(face, model), face.parameters.torch()
    still = _offset(face, start.head, draft(face, start, model, scene).pixels, basis)
    out = []
    for axis, turns in TURNS.items():
        for turn in turns:
            head = start.head.clone()
            head[0, axis] += turn
            shown = _offset(face, head, draft(face, start.replace(head=head), model, scene).pixels, basis)
            if shown is not None and still is not None:
                out.append((axis, float(np.deg2rad(turn)), shown - still))
    return out


def _offset(face: TrackedFace, head: torch.Tensor, pixels: NDArray[np.uint8], basis: Basis) -> NDArray | None:
    detections = detect(pixels)
    found = find_landmarks(pixels, detections[0]) if detections else None
    if found is None:
        return None
    camera, p = face.frame_camera, face.parameters.replace(head=head)
    projected = predicted(basis, p, camera)
    fitted = Fit(
        *(np.zeros(1),) * 3, head[0].numpy().astype(float), p.translation[0].numpy().astype(float), projected, 0.0
    )
    return model_space(fitted, found.points.astype(np.float64), camera)


def main(data: Path, output: Path, faces: int = 40) -> None:
    """Reads DATA/faces and adds ``turns`` to OUTPUT."""
    model = OpenHead.load()
    paths = sampled(data)
    samples: list[tuple[int, float, NDArray[np.float64]]] = []
    for path in paths[:: max(1, len(paths) // faces)]:
        for face in track(path, faces=1):
            samples += lacking(face, model)
    turns = []
    for axis in TURNS:
        angles = np.array([angle for a, angle, _ in samples if a == axis])
        offsets = np.stack([offset for a, _, offset in samples if a == axis])
        # A median of slopes: a few pictures in which nothing sensible was found do not matter.
        turns.append(np.median(offsets / angles[:, None, None], 0))
        print(f"{['yaw', 'pitch'][axis]}: {len(angles)} pictures, offset {np.abs(turns[-1]).mean():.2f} cm a radian")
    with np.load(output) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez_compressed(output, **{**arrays, "turns": np.stack(turns).astype(np.float32)})
    print(f"wrote {output}")


if __name__ == "__main__":
    typer.run(main)
