"""Dense landmarks of one face, steadied by a second look at an upright crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instaface.track import graphs
from instaface.track.detect import Detection

CROP = 192  # pixels: what the network takes
MARGIN = 1.5  # side of the crop over the extent of the face, as the network was trained
# Outer corners of the eyes at the picture's left and right.
EYE_CORNERS = (33, 263)


@dataclass(frozen=True)
class Landmarks:
    """MediaPipe Face Mesh landmarks of one face.

    Attributes:
        points: (478, 2) float32 pixels of the photo.
        depth: (478,) float32 relative depth in pixels, away from the camera positive.
        score: confidence of the detector, 0..1.
    """

    points: NDArray[np.float32]
    depth: NDArray[np.float32]
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) of the landmarks."""
        (x0, y0), (x1, y1) = self.points.min(0), self.points.max(0)
        return float(x0), float(y0), float(x1), float(y1)


def find_landmarks(pixels: NDArray[np.uint8], face: Detection) -> Landmarks | None:
    """Landmarks of a detected face; None where the landmark network sees no face there.

    Args:
        pixels: (H, W, 3) uint8 RGB, the whole photo.
        face: from :func:`instaface.track.detect.detect`.
    """
    x0, y0, x1, y1 = face.box
    center, side = ((x0 + x1) / 2, (y0 + y1) / 2), MARGIN * max(x1 - x0, y1 - y0)
    points = _look(pixels, np.array(center, np.float32), side, _angle(*face.eyes))
    for _ in range(2):  # the second look at a crop that the first one centred; the third is steadier by a third
        if points is None:
            return None
        points = _look(pixels, *_crop_of(points[:, :2]))
    if points is None:
        return None
    return Landmarks(points[:, :2], points[:, 2], face.score)


def _angle(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Radians, clockwise as seen, of the line from one point to another."""
    return float(np.arctan2(second[1] - first[1], second[0] - first[0]))


def _crop_of(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, float]:
    """Centre, side and angle of the upright square crop around landmarks."""
    angle = _angle(points[EYE_CORNERS[0]], points[EYE_CORNERS[1]])
    turn = _rotation(angle)
    upright = points @ turn
    low, high = upright.min(0), upright.max(0)
    return turn @ ((low + high) / 2), MARGIN * float((high - low).max()), angle


def _rotation(angle: float) -> NDArray[np.float32]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]], np.float32)


def _look(
    pixels: NDArray[np.uint8], center: NDArray[np.float32], side: float, angle: float
) -> NDArray[np.float32] | None:
    """One run of the network: (478, 3) x, y and depth in pixels of the photo, or None."""
    if not 4 <= side < 1e5:
        return None
    found = graphs.landmarks(aligned_crop(pixels, center, side, angle, CROP))
    if found is None:
        return None
    points = (found[:, :2] - 0.5) * side @ _rotation(angle).T + center
    return np.concatenate([points, found[:, 2:] * side], 1).astype(np.float32)


def aligned_crop(
    pixels: NDArray[np.uint8], center: NDArray[np.float32], side: float, angle: float, size: int
) -> NDArray[np.uint8]:
    """(size, size, 3) crop around ``center``, turned upright, low-pass filtered where it shrinks.

    Args:
        pixels: (H, W, 3) uint8.
        center: (2,) in pixels.
        side: of the square, in pixels.
        angle: of its upper edge, radians, clockwise as seen.
        size: of the crop.
    """
    import cv2

    # What the crop can reach, shrunk by whole areas first: warping alone would alias.
    reach = side * 0.71 + 2
    x0, y0 = (max(0, int(np.floor(c - reach))) for c in center)
    part = pixels[y0 : int(center[1] + reach) + 1, x0 : int(center[0] + reach) + 1]
    if part.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    height, width = part.shape[:2]
    shrink = min(1.0, 1.5 * size / side)
    if shrink < 1:
        small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    to_part = np.array([part.shape[1] / width, part.shape[0] / height])
    # Continuous coordinates of the crop to those of the part; OpenCV counts from the middle of the first pixel.
    matrix = to_part[:, None] * _rotation(angle) * (side / size)
    offset = (center - (x0, y0)) * to_part - matrix @ np.full(2, size / 2)
    offset = offset + matrix @ np.full(2, 0.5) - 0.5
    return cv2.warpAffine(
        np.ascontiguousarray(part),
        np.column_stack([matrix, offset]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
