"""Learns how MediaPipe's landmarks follow the expressions of the face model.

    python tools/calibrate_expressions.py ../shared/data src/instaface/assets/landmarks_openhead.npz

The landmark network moves its points less than a face moves: a closed eye comes out half open, a frown hardly at all.
So training photos are carried through the mesh into known changes of expression, the network looks at both
pictures, and the change of its landmarks is regressed on the change of the weights, with the model's own basis as the
prior. The result, the expression basis as the network sees it, joins the offsets that ``calibrate_landmarks.py`` wrote.
Faces of the validation set are left out. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from calibrate_landmarks import VALIDATION
from instaface.face import Camera, FaceParameters, OpenHead, rotation_from_angles
from instaface.face.colour import pixels_from_linear
from instaface.face.openhead import BLINK
from instaface.photo import read_photo
from instaface.render import interpolate, render_maps
from instaface.track.detect import detect
from instaface.track.fit import Calibration, fit, landmark_basis
from instaface.track.landmarks import find_landmarks
from instaface.track.tracker import parameters_of

PHOTOS = 800
PRIOR = 2.0  # the model's own basis counts as much as this many photos with the full expression
INSIDE = ("teeth", "gums", "mouth", "tongue", "eye_sockets")  # what a photo with closed lips does not show


@dataclass(frozen=True)
class Change:
    """A known change (E,) of weights and the change (L, 2) of the landmarks in centimetres of the unposed head."""

    weights: NDArray[np.float64]
    landmarks: NDArray[np.float64]


def random_change(model: OpenHead, rng: np.random.Generator, before: NDArray[np.float32]) -> NDArray[np.float32]:
    """New weights: one to three expressions, mostly on both sides, set to random values."""
    names, after = list(model.expression_names), before.copy()
    free = [name for name in names if not name.startswith(("eyeLook", "tongue"))]
    for name in rng.choice(free, rng.integers(1, 4), replace=False):
        sides = {name, name.replace("Left", "Right"), name.replace("Right", "Left")} if rng.random() < 0.7 else {name}
        for side in sides:
            after[names.index(side)] = rng.choice([0.5, 0.75, 1.0])
    return after


def carried(
    model: OpenHead, photo: NDArray[np.uint8], camera: Camera, before: FaceParameters, after: FaceParameters
) -> NDArray[np.uint8]:
    """The photo with the face's own pixels carried to where the changed mesh has them."""
    maps = render_maps(model, after, camera)
    with torch.no_grad():
        source = camera.project(model.vertices(before)[0]).numpy()[:, :2] - 0.5  # OpenCV counts from pixel centres
    at = interpolate(maps.raster, model.faces.numpy().astype(np.int32), source.astype(np.float32))
    out = cv2.remap(photo, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    inside = np.isin(model.part_labels.numpy(), [model.part_names.index(n) for n in INSIDE if n in model.part_names])
    dark = inside[maps.raster.face_index] & maps.raster.covered
    out = np.where(dark[..., None], pixels_from_linear(0.6 * maps.rendering), out)
    front = np.isin(maps.raster.face_index, np.flatnonzero(_near_the_face(model)))
    alpha = cv2.GaussianBlur((front & maps.raster.covered).astype(np.float32), (0, 0), 1.0)[..., None]
    return (out * alpha + photo * (1 - alpha) + 0.5).astype(np.uint8)


def _near_the_face(model: OpenHead) -> NDArray[np.bool_]:
    """(F,) triangles of the face and what lies inside of it; neck, ears and scalp stay as they are in the photo."""
    on = np.ones(len(model.head_weight), bool)
    for name in ("neck", "shoulders", "ears", "scalp"):
        on[model.regions[name].numpy()] = False
    return on[model.faces.numpy()].all(1)


def changes(data: Path, model: OpenHead) -> Iterator[Change]:
    rng, basis = np.random.default_rng(0), landmark_basis(model)
    numbers = [n for n in np.linspace(0, 3599, PHOTOS).astype(int) if n % VALIDATION]
    for number in numbers:
        photo = read_photo(data / "faces" / f"{number:04d}.jpg")
        camera, first = Camera.for_photo(photo.width, photo.height, photo.focal), look(photo.pixels)
        if first is None:
            continue
        before = parameters_of(fit(basis, first, camera), model).torch()
        weights = random_change(model, rng, before.expression[0].numpy())
        after = before.replace(expression=torch.from_numpy(weights)[None])
        second = look(carried(model, photo.pixels, camera, before, after))
        if second is not None:
            yield Change(effective(model, after) - effective(model, before), unposed(second - first, before, camera))


def effective(model: OpenHead, face: FaceParameters) -> NDArray[np.float64]:
    """(E,) weights that the basis is multiplied with: a blink goes as far as this face's eyes are open."""
    out = face.expression[0].double().numpy().copy()
    full = model.landmark_basis("mediapipe")
    closing = full.closing + face.identity[0].numpy() @ full.closing_identity
    out[[model.expression_names.index(name) for name in BLINK]] *= closing
    return out


def look(pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """(L, 2) landmarks of the largest face."""
    found = [find_landmarks(pixels, face) for face in detect(pixels)[:1]]
    return found[0].points.astype(np.float64) if found and found[0] is not None else None


def unposed(moved: NDArray[np.float64], face: FaceParameters, camera: Camera) -> NDArray[np.float64]:
    """(L, 2) movement in the picture, in centimetres of the unposed head; exact for a head that looks at the camera."""
    scale = (-face.translation[0, 2].item() - 9) / camera.focal  # the face lies before the neck joint
    turn = rotation_from_angles(face.head[0]).double().numpy()
    return (np.column_stack([moved[:, 0], -moved[:, 1], np.zeros(len(moved))]) * scale @ turn)[:, :2]


def seen_basis(found: list[Change], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(E, L, 3) ridge regression of the landmarks' changes on the weights' changes, towards the model's ``basis``.

    Depth is not seen: it shrinks as the rest of the expression does.
    """
    weights = np.stack([change.weights for change in found])
    moved = np.stack([change.landmarks for change in found]).reshape(len(found), -1)
    own = basis[:, :, :2].reshape(len(basis), -1)
    gram = weights.T @ weights + PRIOR * np.eye(len(basis))
    for _ in range(3):  # photos on which the network fell over lose their say
        rest = moved - weights @ own
        flat = np.linalg.solve(gram, weights.T @ rest) + own
        size = np.abs(moved - weights @ flat).mean(1) / (0.02 + np.abs(moved).mean(1))
        trust = 1 / (1 + (size / (2 * np.median(size))) ** 2) ** 2
        gram = (weights * trust[:, None]).T @ weights + PRIOR * np.eye(len(basis))
        flat = own + np.linalg.solve(gram, (weights * trust[:, None]).T @ rest)
    response = (flat * own).sum(1) / ((own**2).sum(1) + 1e-9)
    depth = basis[:, :, 2] * np.clip(response, 0, 1.2)[:, None]
    return np.concatenate([flat.reshape(*basis.shape[:2], 2), depth[..., None]], 2)


def main(data: Path, asset: Path) -> None:
    """Reads DATA/faces, and adds the basis to ASSET."""
    model = OpenHead.load()
    own = model.landmark_basis("mediapipe").expression.astype(np.float64)
    found = list(changes(data, model))
    seen = seen_basis(found, own)
    calibration = Calibration.load(model)
    np.savez_compressed(
        asset,
        offset=calibration.offset.astype(np.float32),
        identity=calibration.identity.astype(np.float32),
        expression=seen.astype(np.float16),
    )
    print(f"{len(found)} photos; response of each expression:")
    for name, a, b in zip(model.expression_names, seen, own, strict=True):
        if (b**2).sum() > 1e-6:
            print(f"  {name} {(a[:, :2] * b[:, :2]).sum() / (b[:, :2] ** 2).sum():.2f}")


if __name__ == "__main__":
    typer.run(main)
