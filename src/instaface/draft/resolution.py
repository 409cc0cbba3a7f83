"""A draft made at a working resolution, brought to that of the photo with the photo's own detail."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.compose import Draft
from instaface.draft.fill import smoothstep
from instaface.track import TrackedFace

Array = NDArray[np.float32]

ROWS = 512  # of a band of the photo that is worked on at once: memory, not speed
TEAR = 2.0  # pixels between the places in the photo of two neighbours, from which no detail is carried there
GAIN = 0.4, 2.5  # by which new light scales detail
LEAST = 0.03  # of a pixel of the photo: an edit that touches less of it leaves it as it is


def at_own_resolution(drawn: Draft, work: TrackedFace, face: TrackedFace) -> Draft:
    """The draft of ``work``, which is ``face`` at a working resolution, over the whole of the face's frame.

    What the draft shows of the photo gets the detail that the working resolution left out, from where in the photo it
    is; what was invented, or mirrored, stays as smooth as it is.

    Args:
        drawn: of ``work``.
        work: from :attr:`TrackedFace.working`.
        face: the face itself.
    """
    height, width = face.frame.height, face.frame.width
    sharp, seen = _sharp(drawn), work.frame_pixels
    if width < work.frame.width:  # each pixel is the mean of those of the draft that it covers
        drawn, sharp, seen = _shrunk(drawn, sharp, seen, (width, height))
    scale = np.array([width / seen.shape[1], height / seen.shape[0]], np.float32)
    outputs = [face.frame_pixels.copy() for _ in range(2)]
    maps = [cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in (drawn.coverage, drawn.mask)]
    # What the edit does not touch is the photo already.
    left, right, top, bottom = _touched(drawn.mask, scale, width, height)
    for start in range(top, bottom, ROWS):
        rows, columns = np.arange(start, min(start + ROWS, bottom)), np.arange(left, right)
        band = slice(start, start + len(rows)), slice(left, right)
        x, y = np.meshgrid((columns + 0.5) / scale[0] - 0.5, (rows + 0.5) / scale[1] - 0.5)
        at = x.astype(np.float32), y.astype(np.float32)
        source, share = _look_up(drawn.source, at), _look_up(sharp, at)[..., None]
        there, here = source * scale - 0.5, source - 0.5
        shown = _look_up(face.frame_pixels, (there[..., 0], there[..., 1]), cv2.INTER_CUBIC).astype(np.float32)
        base = _look_up(seen, (here[..., 0], here[..., 1]), cv2.INTER_CUBIC).astype(np.float32)
        for out, picture in zip(outputs, (drawn.pixels, drawn.appearance), strict=True):
            plain = _look_up(picture, at, cv2.INTER_CUBIC).astype(np.float32)
            gain = ((plain.mean(-1) + 8) / (base.mean(-1) + 8)).clip(*GAIN)[..., None]
            drawn_there = np.clip(np.rint(plain + share * gain * (shown - base)), 0, 255)
            out[band] = np.where(maps[1][band][..., None] > 0, drawn_there, out[band])
    opacity = cv2.resize(drawn.opacity, (width, height)) if drawn.opacity.size else drawn.opacity
    return Draft(pixels=outputs[0], appearance=outputs[1], coverage=maps[0], mask=maps[1], opacity=opacity)


def _shrunk(
    drawn: Draft, sharp: Array, seen: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[Draft, Array, NDArray[np.uint8]]:
    """A draft, where it is sharp and what the photo shows, all at a smaller ``size``: width and height."""

    def mean(picture: NDArray) -> NDArray:
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if picture.size else picture

    scale = np.divide(size, seen.shape[1::-1]).astype(np.float32)
    parts = {part.name: mean(getattr(drawn, part.name)) for part in fields(drawn)}
    parts["source"] *= scale
    parts["mask"][parts["mask"] < LEAST] = 0
    return Draft(**parts), smoothstep(mean(sharp), 0.9, 1.0).astype(np.float32), mean(seen)


def _touched(mask: Array, scale: Array, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of the enlarged part where ``mask`` is not 0; all 0 where it is everywhere."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if not len(rows):
        return 0, 0, 0, 0
    left, right = ((end + by) * scale[0] for end, by in ((columns[0], -2), (columns[-1], 3)))
    top, bottom = ((end + by) * scale[1] for end, by in ((rows[0], -2), (rows[-1], 3)))
    return max(int(left), 0), min(int(right), width), max(int(top), 0), min(int(bottom), height)


def _look_up(picture: NDArray, at: tuple[Array, Array], how: int = cv2.INTER_LINEAR) -> NDArray:
    """``picture`` at (H, W) columns and rows."""
    return cv2.remap(picture, *at, how, borderMode=cv2.BORDER_REPLICATE)


def _sharp(drawn: Draft) -> Array:
    """(H, W) 0..1, where a draft shows the photo's own pixels, and neighbours come from neighbours."""
    jump = np.zeros(drawn.coverage.shape, np.float32)
    for axis in (0, 1):
        step = np.abs(np.diff(drawn.source, axis=axis)).max(-1)
        first, second = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
        for part in (first, second):
            part = part if axis == 0 else part[::-1]
            jump[part] = np.maximum(jump[part], step)
    return (smoothstep(drawn.coverage, 0.7, 1.0) * (jump < TEAR)).astype(np.float32)
