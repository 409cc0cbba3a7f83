"""Glasses as a rigid sheet before the face: lifted off the skin, turned with the head, untouched by expressions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import push_pull, smoothstep
from instaface.draft.sheet import on_head, sheet_faces, turned
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles
from instaface.track.glasses import Glasses

Array = NDArray[np.float32]

LENS_DISTANCE = 1.2  # centimetres from the cornea to the lens (vertex distance)
WRAP = 0.7  # centimetres by which the front's ends lie behind its middle
ROOM = 0.8  # centimetres of sheet above and below the rims
CONTACT = 0.6  # centimetres by which the sheet may lie in the face model and still be seen: it rests on nose and ears


@dataclass(frozen=True)
class Sheet:
    """Glasses taken off a photo.

    Attributes:
        rest: (N, 3) float32 centimetres, points of front and temples about the neck joint of the unturned head.
        faces: (F, 3) int64, anticlockwise seen from outside.
        normals: (N, 3) float32 unit normals, likewise.
        picture: (H, W, 4) float32 colour 0..255 and opacity 0..1 over the canvas.
    """

    rest: Array
    faces: NDArray[np.int64]
    normals: Array
    picture: Array


def lift(photo: Array, found: Glasses, *masks: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """Takes glasses off a photo.

    Args:
        photo: (H, W, 3) float32 0..255.
        found: the glasses in it.
        masks: (H, W) float32 0..1 of what else is in the photo.

    Returns:
        (H, W, 3) the photo, continued smoothly under the glasses; (H, W, 4) colour and opacity of the glasses; and
        the masks, continued likewise.
    """
    alpha, reach = found.alpha, 2 * int(0.4 * found.width) + 3  # their shadow and what of them was not found
    known = (cv2.dilate(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) < 0.1).astype(np.float32)
    filled = push_pull(np.dstack([photo, *masks]), known)
    under = np.where(known[..., None] > 0, photo, filled[..., :3]).astype(np.float32)
    a = np.maximum(alpha, 0.2)[..., None]
    own = np.clip((photo - (1 - a) * under) / a, 0, 255)
    steep = tuple(
        np.where(known > 0, mask, smoothstep(filled[..., 3 + k], 0.3, 0.7)).astype(np.float32)
        for k, mask in enumerate(masks)
    )
    return under, np.dstack([own, alpha]).astype(np.float32), steep


def build_sheet(
    found: Glasses, picture: Array, camera: Camera, model: MorphableModel, parameters: FaceParameters, rest: Array
) -> Sheet | None:
    """Front and temples of glasses found in a photo, as a surface.

    The front is a slightly bent plane before eyes and nose, as wide as the rims; the temples go straight from its ends
    to the ears. None where the face model names neither eyes nor ears.

    Args:
        found: the glasses, in pixels of ``camera``.
        picture: see :class:`Sheet`.
        camera: of the canvas.
        model: the face model.
        parameters: of the tracked face.
        rest: (V, 3) float32 the unturned face, its neck joint in the origin.
    """
    names = [name for name in ("eyeball_left", "eyeball_right") if name in model.regions]
    eyes = [rest[np.asarray(model.regions[name])] for name in names]
    if len(eyes) < 2 or "ears" not in model.regions:
        return None
    ears, around = rest[np.asarray(model.regions["ears"])], np.concatenate(eyes)
    skin = rest[(np.abs(rest[:, 1] - around[:, 1].mean()) < 0.5) & (np.abs(rest[:, 0] - around[:, 0].mean()) < 1)]
    front = max(float(around[:, 2].max()) + LENS_DISTANCE, float(skin[:, 2].max()))
    x, y = _on_plane(found.rims.reshape(-1, 2), camera, parameters, front - WRAP / 2)
    middle = float(around[:, 0].mean())
    ear = float(np.median(np.abs(ears[:, 0] - middle)))
    half = float(np.clip(np.abs(x - middle).max() + 0.2, 0.7 * ear, 1.1 * ear))
    # 1. The outline from above: from the right ear over the front to the left one.
    t = np.linspace(0, 1, 24)
    bent = np.stack([half * t, front - WRAP * t**2], -1)
    end = np.array([max(ear, half), float(np.median(ears[:, 2]))])
    temple = bent[-1] + (end - bent[-1]) * np.linspace(0, 1, 25)[1:, None]
    side = np.concatenate([bent, temple])
    outline = np.concatenate([side[:0:-1] * (-1, 1), side])
    outline[:, 0] += middle
    # 2. As high as the rims.
    heights = np.linspace(y.max() + ROOM, y.min() - ROOM, 12)
    grid = np.empty((len(heights), len(outline), 3), np.float32)
    grid[..., [0, 2]], grid[..., 1] = outline, heights[:, None]
    along = np.gradient(outline, axis=0)
    normals = np.stack([-along[:, 1], np.zeros(len(along)), along[:, 0]], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.tile(normals, (len(heights), 1)).astype(np.float32)
    return Sheet(grid.reshape(-1, 3), sheet_faces(*grid.shape[:2]), normals, picture)


def _on_plane(xy: Array, camera: Camera, parameters: FaceParameters, z: float) -> tuple[Array, Array]:
    """x and y, in the unturned head's coordinates, of pixels on a plane across its line of sight."""
    turn = np.asarray(rotation_from_angles(parameters.head[0]))
    rays = camera.unproject(xy, np.ones(len(xy), np.float32)) @ turn
    origin = -np.asarray(parameters.translation[0]) @ turn
    points = origin + rays * ((z - origin[2]) / rays[:, 2])[:, None]
    return points[:, 0], points[:, 1]


def place(sheet: Sheet, parameters: FaceParameters) -> tuple[Array, Array]:
    """(N, 3) points and normals of the sheet in camera space, on a posed head."""
    return on_head(sheet.rest, parameters), turned(sheet.normals, parameters)
