"""What the photo's border cuts off: a canvas that reaches beyond the frame, and a head that ends on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import smoothstep
from instaface.draft.view import View, odd
from instaface.face import Camera, MorphableModel
from instaface.track import TrackedFace

Array = NDArray[np.float32]
Margins = tuple[int, int, int, int]  # left, top, right, bottom

REACH = 0.3  # of the head's height: how far the canvas reaches beyond the photo where the photo cuts the person
BULGE = 0.3  # how far a head that a side of the photo cuts goes on beyond it, over half the height of the cut

APART = 0.02  # of the canvas's longer side: twice how far from other things hair is reflected


def canvas(face: TrackedFace, model: MorphableModel) -> tuple[Camera, Margins]:
    """Camera of the canvas, and its margins around the frame: some where the photo cuts the head, else none."""
    camera, person = face.frame_camera, face.matte.person - face.matte.clothes
    points = camera.project(np.asarray(model.vertices(face.parameters)[0]))
    head = points[np.asarray(model.head_weight) > 0.99]
    reach = int(REACH * (head[:, 1].max() - head[:, 1].min()))
    chin = int(np.clip(head[:, 1].max(), 1, camera.height))
    borders = person[:chin, 0], person[0], person[:chin, -1], np.zeros(1)
    margins = tuple(reach if border.max() > 0.5 else 0 for border in borders)
    left, top, right, bottom = margins
    frame = face.frame
    width, height = frame.width + left + right, frame.height + top + bottom
    return face.camera.crop(frame.x - left, frame.y - top, width, height, (width, height)), margins  # type: ignore[return-value]


def pad(array: Array, margins: Margins, border: int) -> Array:
    """A picture of the frame over the canvas; ``border`` is OpenCV's name of what lies beyond."""
    left, top, right, bottom = margins
    return cv2.copyMakeBorder(array, top, bottom, left, right, border)


def close(
    person: Array, hair: Array, clothes: Array, margins: Margins, view: View, model: MorphableModel
) -> tuple[Array, Array]:
    """(H, W) person and hair whose outline comes to an end beyond the border that cuts it; clothes go on."""
    person, hair = person.copy(), hair.copy()
    _close_top(person, hair, margins, view, model)
    left, _, right, _ = margins
    for reach, turned in ((left, slice(None)), (right, slice(None, None, -1))):
        if reach:
            _close_side(person[:, turned], hair[:, turned], clothes[:, turned], reach)
    return person, hair


def _close_top(person: Array, hair: Array, margins: Margins, view: View, model: MorphableModel) -> None:
    """Where the photo cuts the head's top, an ellipse closes it; changes both in place."""
    left, top, right, _ = margins
    frame = slice(left, person.shape[1] - right)
    border = np.nonzero(person[top, frame] > 0.5)[0] + left
    if not top or not len(border):
        return
    # An ellipse as wide as the head is at the photo's border, as high as the skull and the hair at its sides.
    x0, y0, x1, _ = view.head_box(model)
    half, middle = 0.5 * (border[-1] - border[0] + 1), 0.5 * (border[0] + border[-1])
    hair_width = max(half - 0.5 * (x1 - x0), 0.04 * (x1 - x0))
    height = np.clip(top - y0 + hair_width, 0.1 * half, 0.9 * top)
    y, x = np.mgrid[:top, : person.shape[1]].astype(np.float32)
    person[:top] *= _within((x - middle) / half, (top - y) / height)
    hair[:top] = np.minimum(hair[:top], person[:top])


def _close_side(person: Array, hair: Array, clothes: Array, reach: int) -> None:
    """Where the photo's left side cuts skin or hair, each cut goes on as half an ellipse; changes both in place."""
    cut = (person - clothes)[:, reach]
    share = np.clip(hair[:, reach] / np.maximum(cut, 1e-3), 0, 1)
    y, x = np.mgrid[: len(person), :reach].astype(np.float32)
    goes_on = np.zeros_like(x)
    for first, last in _runs(cut > 0.5):
        half, middle = 0.5 * (last - first), 0.5 * (first + last - 1)
        if last == len(person):  # the lower border is no end of it
            half, middle = last - first, last
        depth = max(1.0, min(BULGE * half, 0.9 * reach))
        goes_on = np.maximum(goes_on, _within((y - middle) / half, (reach - x) / depth))
    hair[:, :reach] = np.minimum(goes_on * share[:, None], 1 - clothes[:, :reach])
    person[:, :reach] = np.maximum(goes_on, clothes[:, :reach])


def _within(x: Array, y: Array) -> Array:
    """1 within the unit circle, 0 outside, with a soft edge."""
    return smoothstep(1 - x**2 - y**2, -0.03, 0.03)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last but one index of each run of True."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=True)]


def reflected(hair: Array, margins: Margins, inside: Array) -> Array:
    """(H, W) float32, 1 where the photo, reflected at its border, shows hair and nothing else, and inside of it."""
    size = odd(APART * max(inside.shape))
    core = cv2.erode(hair, np.ones((size, size))) > 0.9
    return np.maximum(inside, pad(core.astype(np.float32), margins, cv2.BORDER_REFLECT_101))
