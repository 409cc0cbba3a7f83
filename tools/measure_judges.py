"""Measures what each judge of pose reads of a known turn.

    python tools/measure_judges.py ../shared/data src/instaface/evaluation/judges.json [--faces 24]

Training faces' shape, expression, albedo and light are rendered with known turns of the head, and each judge is asked:
the tracker, and the two of ``evaluation/pose.py``. Faces of the validation set are left out, and so are those whose
renderings the judges' generic proportions were chosen on (7, 232, 457, ...). The renderings have no hair, and are a
face model's own: they show a judge's bias, not how well it does on photos.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from instaface.evaluation.pose import pose_by_five_points, pose_by_pnp
from instaface.face import OpenHead
from instaface.face.colour import linear_from_pixels, pixels_from_linear
from instaface.recognise.dlib_resnet import five_points
from instaface.render import render_maps
from instaface.track import TrackedFace, track
from instaface.track.detect import detect
from instaface.track.fit import fit, landmark_basis
from instaface.track.landmarks import find_landmarks

AXES = ("yaw", "pitch", "roll")
TURNS = {"yaw": (-30, -15, 15, 30), "pitch": (-20, -10, 10, 20), "roll": (-20, 20)}
CHOSEN_ON = range(7, 3600, 225)
HELD_OUT = 101  # the first face


def render(face: TrackedFace, model: OpenHead, turn: tuple[float, float, float]) -> NDArray[np.uint8]:
    """The fitted head of a photo, nearly upright, turned by so many degrees, over a plain background."""
    head = 0.3 * face.parameters.torch().head + torch.tensor([turn])
    maps = render_maps(model, face.parameters.replace(head=head, body=0 * face.parameters.body), face.camera)
    plain = np.median(linear_from_pixels(face.photo.pixels).reshape(-1, 3), axis=0)
    alpha = maps.mask[..., None]
    return pixels_from_linear((maps.rendering * alpha + plain * (1 - alpha)).astype(np.float32))


def read(pixels: NDArray[np.uint8], face: TrackedFace, model: OpenHead) -> dict[str, NDArray[np.float64]] | None:
    """(3,) degrees by each judge; None where no face is found."""
    detections = detect(pixels)
    found = find_landmarks(pixels, detections[0]) if detections else None
    if found is None:
        return None
    fitted = fit(landmark_basis(model), found.points.astype(np.float64), face.camera)
    return {
        "tracker": np.asarray(fitted.head, np.float64),
        "PnP": pose_by_pnp(found.points, face.camera),
        "dlib": pose_by_five_points(five_points(pixels, found.box)),
    }


def main(data: Path, output: Path, faces: int = 24) -> None:
    """Reads DATA/faces and writes OUTPUT."""
    model = OpenHead.load()
    readings: dict[str, dict[str, dict[int, list[NDArray[np.float64]]]]] = {}
    people = 0
    for number in np.linspace(HELD_OUT, 3599, faces).astype(int):
        number = next(k for k in range(int(number), 3600) if k % 18 and k not in CHOSEN_ON)
        tracked = track(data / "faces" / f"{number:04d}.jpg", faces=1)
        still = read(render(tracked[0], model, (0.0, 0.0, 0.0)), tracked[0], model) if tracked else None
        if still is None:
            continue
        people += 1
        for axis, turns in TURNS.items():
            for degrees in turns:
                turn = tuple(float(degrees) * (axis == other) for other in AXES)
                seen = read(render(tracked[0], model, turn), tracked[0], model)  # type: ignore[arg-type]
                for judge, angles in (seen or {}).items():
                    change = (angles - still[judge] + 180) % 360 - 180
                    readings.setdefault(judge, {}).setdefault(axis, {}).setdefault(degrees, []).append(change)
    judges = {}
    for judge, axes in readings.items():
        judges[judge] = {axis: _summary(turns, AXES.index(axis)) for axis, turns in axes.items()}
        print(judge, judges[judge])
    output.write_text(json.dumps({"people": people, "judges": judges}, indent=1) + "\n", encoding="utf-8")


def _summary(turns: dict[int, list[NDArray[np.float64]]], axis: int) -> dict[str, object]:
    """Mean reading of each turn, its slope through the origin, and the root mean square error of all three angles."""
    asked = np.concatenate([np.full(len(read), degrees) for degrees, read in turns.items()])
    got = np.concatenate([np.array(read) for read in turns.values()])
    error = got - asked[:, None] * (np.arange(3) == axis)
    return {
        "slope": round(float(asked @ got[:, axis] / (asked @ asked)), 3),
        "error": round(float(np.sqrt((error**2).sum(1).mean())), 2),
        "read": {str(degrees): round(float(np.mean(read, axis=0)[axis]), 1) for degrees, read in turns.items()},
    }


if __name__ == "__main__":
    typer.run(main)
