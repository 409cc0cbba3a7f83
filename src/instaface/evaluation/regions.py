"""The part of a photo that is judged, and its regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instaface.face import MorphableModel
from instaface.render.rasterise import rasterise
from instaface.track import Frame, TrackedFace

VIEW_SIZE = 512  # longer side; larger frames are shrunk, so that figures of photos of all sizes compare
MARGIN = 0.01  # of the view, kept away from soft edges
# Brows, eyes, nose and mouth: what stays clear of the silhouette when the head turns.
MIDDLE = (70, 105, 334, 300, 263, 291, 17, 61, 33)

Mask = NDArray[np.bool_]


def view(pixels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """The frame of a (H, W, 3) photo, at most ``VIEW_SIZE`` large."""
    import cv2

    part = pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    scale = view_scale(frame)
    if scale == 1:
        return np.ascontiguousarray(part)
    size = (round(frame.width * scale), round(frame.height * scale))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def view_scale(frame: Frame) -> float:
    """Size of the view over that of the frame, at most 1."""
    return min(1.0, VIEW_SIZE / max(frame.width, frame.height))


@dataclass(frozen=True)
class Seen:
    """A face as it lies in a view.

    Attributes:
        person: (H, W) float32 0..1.
        hair: (H, W) float32 0..1.
        clothes: (H, W) float32 0..1.
        face: (H, W) bool, hull of brows, eyes, nose and mouth.
        skin: (H, W) float32 0..1, what the face model covers: head and neck; all of the view where none was given.
    """

    person: NDArray[np.float32]
    hair: NDArray[np.float32]
    clothes: NDArray[np.float32]
    face: Mask
    skin: NDArray[np.float32]


def seen(face: TrackedFace, frame: Frame, model: MorphableModel | None = None) -> Seen:
    """The regions of ``face`` in the view of ``frame``, which may be another picture's frame."""
    import cv2

    scale = view_scale(frame)
    size = (round(frame.width * scale), round(frame.height * scale))
    landmarks = (face.landmarks - (frame.x, frame.y)) * scale
    hull = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(landmarks[list(MIDDLE)].astype(np.float32)).astype(np.int32), (1.0,))
    skin = np.ones_like(face.matte.person) if model is None else covered(face, model)
    person, hair, clothes, skin = (
        cv2.resize(_moved(mask, face.frame, frame), size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for mask in (face.matte.person, face.matte.hair, face.matte.clothes, skin)
    )
    return Seen(person, hair, clothes, hull.astype(bool), skin)


def covered(face: TrackedFace, model: MorphableModel) -> NDArray[np.float32]:
    """(H, W) 0..1 over the face's frame: where the face model lies."""
    points = face.frame_camera.project(model.vertices(face.parameters)[0])
    return rasterise(points, model.faces, face.frame.height, face.frame.width).covered.astype(np.float32)


def _moved(mask: NDArray[np.float32], own: Frame, frame: Frame) -> NDArray[np.float32]:
    """A mask over the frame ``own`` as one over ``frame``; continued by its edge where the frames do not overlap."""
    import cv2

    mask = cv2.resize(mask, (own.width, own.height), interpolation=cv2.INTER_LINEAR)
    rows = np.clip(np.arange(frame.height) + frame.y - own.y, 0, own.height - 1)
    columns = np.clip(np.arange(frame.width) + frame.x - own.x, 0, own.width - 1)
    return mask.take(rows, 0).take(columns, 1).astype(np.float32)


def background(source: Seen, edit: Seen) -> Mask:
    """What is background before and after."""
    return _shrunk((source.person < 0.02) & (edit.person < 0.02))


def clothes(source: Seen, edit: Seen) -> Mask:
    """What is clothes before and after."""
    return _shrunk((source.clothes > 0.9) & (edit.clothes > 0.9))


def hair(source: Seen, edit: Seen) -> Mask:
    """What is hair before and after."""
    return _shrunk((source.hair > 0.9) & (edit.hair > 0.9))


def worn(source: Seen, edit: Seen) -> Mask:
    """What belongs to the person before and after, but is neither hair nor clothes nor head: jewellery, straps."""
    return _shrunk(_other(source) & _other(edit))


def _other(seen: Seen) -> Mask:
    return (seen.person > 0.9) & (seen.hair < 0.1) & (seen.clothes < 0.1) & (seen.skin < 0.1)


def _shrunk(mask: Mask) -> Mask:
    import cv2

    radius = max(1, round(MARGIN * max(mask.shape)))
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)).astype(bool)
