"""Does the geometric edit do what it was asked? Its pictures are tracked anew and compared with what was asked.

    python benchmarks/control.py FOLDER [--limit N] [--every K] [--only pose,expression,light]

Pose: error of the tracked angle and slope of its change, by the tracker and by a judge that knows nothing of it
(perspective-n-point on rigid landmarks). Expression: slope of the tracked against the asked weight over 0, 0.5, 1, and
what leaks into the other expressions. Light: ratio of left to right cheek luminance against that of the lit mesh.
Photos are those of the folder whose number is divisible by K (18: the validation set), as many as the limit says.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from instaface.draft import draft, take_apart
from instaface.evaluation.pose import pose_by_pnp
from instaface.face import Camera, FaceParameters, OpenHead
from instaface.face.colour import linear_from_pixels
from instaface.face.light import direction_from_angles, directional
from instaface.render import region_mask, render_maps
from instaface.track import TrackedFace, track
from instaface.track.detect import detect
from instaface.track.fit import fit, landmark_basis
from instaface.track.landmarks import find_landmarks
from instaface.track.tracker import parameters_of

POSES = {"yaw": (0, (-30, -15, 15, 30)), "pitch": (1, (-15, 15))}
EXPRESSIONS = {
    "jawOpen": ("jawOpen",),
    "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"),
    "browInnerUp": ("browInnerUp",),
    "mouthPucker": ("mouthPucker",),
}
WEIGHTS = (0.0, 0.5, 1.0)
LIGHTS = [(azimuth, elevation) for azimuth in (-60, -30, 30, 60) for elevation in (0, 30)]
CHEEKS = ("cheek_left", "cheek_right")


def measure(pixels: NDArray[np.uint8], camera: Camera, model: OpenHead) -> tuple[FaceParameters, NDArray] | None:
    """Parameters and landmarks of the largest face of an edited frame; None where none is found."""
    detections = detect(pixels)
    landmarks = find_landmarks(pixels, detections[0]) if detections else None
    if landmarks is None:
        return None
    found = fit(landmark_basis(model), landmarks.points.astype(np.float64), camera)
    return parameters_of(found, model).torch(), landmarks.points


def poses(face: TrackedFace, model: OpenHead, rows: dict[str, list]) -> None:
    """Adds (asked change, change by the tracker, error by the tracker, change by PnP) for each pose."""
    scene, start, camera = take_apart(face, model), face.parameters.torch(), face.frame_camera
    before = measure(face.frame_pixels, camera, model)
    if before is None:
        return
    for name, (axis, changes) in POSES.items():
        for change in changes:
            head = start.head.clone()
            head[0, axis] += change
            result = measure(draft(face, start.replace(head=head), model, scene).pixels, camera, model)
            if result is None:
                rows[f"{name} {change:+d}"].append((change, *[np.nan] * 3))
                continue
            tracked = float(result[0].head[0, axis])
            pnp = pose_by_pnp(result[1], camera)[axis] - pose_by_pnp(before[1], camera)[axis]
            rows[f"{name} {change:+d}"].append(
                (change, tracked - float(before[0].head[0, axis]), tracked - float(head[0, axis]), pnp)
            )


def expressions(face: TrackedFace, model: OpenHead, rows: dict[str, list]) -> None:
    """Adds (slope, largest leak) for each expression, each weight set with the others as they are."""
    scene, start, camera = take_apart(face, model), face.parameters.torch(), face.frame_camera
    for name, members in EXPRESSIONS.items():
        index = [model.expression_names.index(member) for member in members]
        seen = []
        for weight in WEIGHTS:
            expression = start.expression.clone()
            expression[0, index] = weight
            result = measure(draft(face, start.replace(expression=expression), model, scene).pixels, camera, model)
            seen.append(np.full(expression.shape[1], np.nan) if result is None else result[0].expression[0].numpy())
        tracked = np.stack(seen)
        slope = np.polyfit(WEIGHTS, tracked[:, index].mean(1), 1)[0] if np.isfinite(tracked).all() else np.nan
        others = np.delete(np.abs(tracked[-1] - tracked[0]), index)
        rows[name].append((slope, *others))


def lights(face: TrackedFace, model: OpenHead, rows: dict[str, list]) -> None:
    """Adds the ratio of left to right cheek luminance, measured over predicted, for each direction."""
    scene, start, camera = take_apart(face, model), face.parameters.torch(), face.frame_camera
    mean = start.light[:, 0].mean()[None]
    for azimuth, elevation in LIGHTS:
        direction = direction_from_angles(torch.tensor([float(azimuth)]), torch.tensor([float(elevation)]))
        edited = start.replace(light=directional(direction, mean, 0.4 * mean))
        pictures = {
            "photo": face.frame_pixels,
            "edit": draft(face, edited, model, scene).pixels,
        }
        maps = {name: render_maps(model, p, camera) for name, p in (("photo", start), ("edit", edited))}
        ratio = {}
        for name, picture in pictures.items():
            measured, shaded = linear_from_pixels(picture).mean(-1), maps[name].shading.mean(-1)
            left, right = (region_mask(model, maps["photo"], region) & (face.matte.hair < 0.1) for region in CHEEKS)
            ratio[name] = [values[left].mean() / values[right].mean() for values in (measured, shaded)]
        change = [ratio["edit"][k] / ratio["photo"][k] for k in (0, 1)]
        rows[f"azimuth {azimuth:+d} elevation {elevation}"].append((change[0] / change[1],))


def show(console: Console, title: str, columns: list[str], lines: dict[str, list[float]]) -> None:
    table = Table(title=title)
    for column in ("", *columns):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in lines.items():
        table.add_row(name, *(f"{value:.3f}" for value in values))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--every", type=int, default=18)
    parser.add_argument("--only", default="pose,expression,light")
    options = parser.parse_args()
    photos = [p for p in sorted(options.folder.glob("*.jpg")) if int(p.stem) % options.every == 0]
    photos = photos[:: max(1, len(photos) // options.limit)][: options.limit]
    model, console = OpenHead.load(), Console()
    protocols = {"pose": poses, "expression": expressions, "light": lights}
    rows: dict[str, dict[str, list]] = {name: defaultdict(list) for name in options.only.split(",")}
    for photo in photos:
        found = track(photo, faces=1)
        for name in rows:
            if found:
                protocols[name](found[0], model, rows[name])
    console.print(f"{len(photos)} photos of {options.folder}")
    if "pose" in rows:
        lines = {}
        for name, values in rows["pose"].items():
            asked, change, error, pnp = np.array(values, float).T
            median = [np.nanmedian(np.abs(error)), np.nanmedian(change) / asked[0], np.nanmedian(pnp) / asked[0]]
            lines[name] = [*median, np.isnan(error).mean()]
        show(console, "Pose (degrees)", ["median error", "slope", "slope by PnP", "lost"], lines)
    if "expression" in rows:
        lines = {}
        for name, values in rows["expression"].items():
            array = np.array(values, float)
            lines[name] = [np.nanmedian(array[:, 0]), np.nanmedian(array[:, 1:], axis=0).max()]
        show(console, "Expression (weights 0, 0.5, 1)", ["slope", "largest median leak"], lines)
    if "light" in rows:
        lines = {
            name: [np.median(values), np.median(np.abs(np.array(values) - 1))] for name, values in rows["light"].items()
        }
        show(console, "Light: ratio of the cheeks, measured over predicted", ["median", "median error"], lines)


if __name__ == "__main__":
    main()
