"""Faces in a photo of any size: boxes and eyes, found at several scales."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instaface.track import graphs

TILE = 640  # pixels: in a tile of this size the detector sees faces down to about 45 pixels
OVERLAP = 0.3  # of a tile with its neighbour
COARSER = 2.5  # ratio of one level's tiles to the next finer ones
MIN_SCORE = 0.5  # of the detector; landmarks reject what slips through
SURE = 0.7  # a face that scores less may be one that the photo's border cuts, or one that lies
SAME_FACE = 0.3  # boxes that overlap more (intersection over union) are the same face


@dataclass(frozen=True)
class Detection:
    """A face as the detector sees it, in pixels of the photo.

    Attributes:
        box: (x0, y0, x1, y1).
        eyes: (2, 2) float32: centres of the eye at the picture's left and of the one at its right.
        score: confidence 0..1.
    """

    box: tuple[float, float, float, float]
    eyes: NDArray[np.float32]
    score: float


def detect(pixels: NDArray[np.uint8]) -> list[Detection]:
    """Finds faces: the whole photo first, then tiles for small ones, then padded and turned if none is sure.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        Faces without duplicates, largest first.
    """
    found = _whole(pixels)
    for x, y, size in _tiles(pixels.shape[1], pixels.shape[0]):
        if not any(_fills(face.box, x, y, size) for face in found):
            tile = pixels[y : y + size, x : x + size]
            found += [_moved(face, x, y) for face in _run(tile, True) if not _cut(face.box, x, y, tile, pixels)]
    if all(face.score < SURE for face in found):
        small, scale = _shrunk(pixels)
        found += [_scaled(face, scale) for face in _padded(small)]
        if all(face.score < SURE for face in found):
            found += [_scaled(face, scale) for face in _turned(small)]
    return suppress(found)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes, or over the smaller one where it lies inside of the other."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    inside = width * height / min(areas)
    return inside if inside > 0.8 else width * height / (sum(areas) - width * height)


def suppress(found: list[Detection]) -> list[Detection]:
    """Keeps the most confident of the boxes that overlap (non-maximum suppression); largest first."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda face: -face.score):
        if all(overlap(face.box, other.box) < SAME_FACE for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -(face.box[2] - face.box[0]))


def _run(pixels: NDArray[np.uint8], full_range: bool) -> list[Detection]:
    """One pass of the detector over one picture."""
    import cv2

    height, width = pixels.shape[:2]
    scale = 256 / max(height, width)
    if scale < 1:  # the graph shrinks without a low-pass filter
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    else:
        picture = np.ascontiguousarray(pixels)
    found = []
    for raw in graphs.detector(full_range)(picture)["detections"] or []:
        box, keys = raw.location_data.relative_bounding_box, raw.location_data.relative_keypoints
        x, y = box.xmin * width, box.ymin * height
        eyes = np.array([(k.x * width, k.y * height) for k in keys[:2]], np.float32)
        if raw.score[0] >= MIN_SCORE:
            found.append(Detection((x, y, x + box.width * width, y + box.height * height), eyes, float(raw.score[0])))
    return found


def _whole(pixels: NDArray[np.uint8]) -> list[Detection]:
    return _run(pixels, False) + _run(pixels, True)


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """(x, y, size) of overlapping square tiles, coarse to fine; none for photos that one pass sees well."""
    size = TILE
    levels = []
    while size < max(width, height) / 1.25:
        levels.append(size)
        size = round(size * COARSER)
    for size in reversed(levels):
        for y, x in itertools.product(_starts(height, size), _starts(width, size)):
            yield x, y, size


def _starts(length: int, size: int) -> list[int]:
    """First pixels of tiles that cover a length evenly."""
    if length <= size:
        return [0]
    count = int(np.ceil((length - size) / (size * (1 - OVERLAP)))) + 1
    return [int(start) for start in np.linspace(0, length - size, count)]


def _fills(box: tuple[float, float, float, float], x: int, y: int, size: int) -> bool:
    """Whether a face covers most of a tile, so that no other will be found there."""
    width = min(box[2], x + size) - max(box[0], x)
    height = min(box[3], y + size) - max(box[1], y)
    return width > 0 and height > 0 and width * height > 0.5 * size**2


def _cut(
    box: tuple[float, float, float, float], x: int, y: int, tile: NDArray[np.uint8], pixels: NDArray[np.uint8]
) -> bool:
    """Whether a tile's edge, which is not the photo's, cuts a face: the next tile sees it better."""
    height, width = tile.shape[:2]
    edges = (
        box[0] < 0 and x > 0,
        box[1] < 0 and y > 0,
        box[2] > width and x + width < pixels.shape[1],
        box[3] > height and y + height < pixels.shape[0],
    )
    return any(edges)


def _moved(face: Detection, dx: float, dy: float) -> Detection:
    x0, y0, x1, y1 = face.box
    return replace(face, box=(x0 + dx, y0 + dy, x1 + dx, y1 + dy), eyes=face.eyes + np.array([dx, dy], np.float32))


def _shrunk(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """A picture no larger than a tile, and how much larger the photo is."""
    import cv2

    height, width = pixels.shape[:2]
    scale = max(1.0, max(height, width) / TILE)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    return (cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale > 1 else pixels), scale


def _scaled(face: Detection, scale: float) -> Detection:
    x0, y0, x1, y1 = face.box
    return replace(face, box=(x0 * scale, y0 * scale, x1 * scale, y1 * scale), eyes=face.eyes * np.float32(scale))


def _padded(pixels: NDArray[np.uint8]) -> list[Detection]:
    """For faces that fill the photo or touch its border: the photo on a larger grey canvas."""
    height, width = pixels.shape[:2]
    pad = max(1, max(height, width) // 2)
    canvas = np.full((height + 2 * pad, width + 2 * pad, 3), 127, np.uint8)
    canvas[pad : pad + height, pad : pad + width] = pixels
    return [_moved(face, -pad, -pad) for face in _whole(canvas)]


def _turned(pixels: NDArray[np.uint8]) -> list[Detection]:
    """For heads that lie: the photo turned by quarters."""
    height, width = pixels.shape[:2]
    found = []
    for quarters in (1, 2, 3):
        for face in _whole(np.ascontiguousarray(np.rot90(pixels, quarters))):
            corners = np.array([face.box[:2], face.box[2:]], np.float32)
            points = _turned_back(np.concatenate([corners, face.eyes]), quarters, width, height)
            (x0, y0), (x1, y1) = points[:2].min(0), points[:2].max(0)
            found.append(Detection((float(x0), float(y0), float(x1), float(y1)), points[2:], face.score))
    return found


def _turned_back(points: NDArray[np.float32], quarters: int, width: int, height: int) -> NDArray[np.float32]:
    """(N, 2) points of a picture that ``numpy.rot90`` turned, in the picture before it."""
    x, y = points.T
    back = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters]
    return np.stack(back, -1).astype(np.float32)
