"""Light by a judge that is not the tracker: the luminance of the two cheeks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instaface.face.colour import linear_from_pixels

# Face Mesh landmarks in the middle of the cheeks; "left" is the subject's, at the right of the picture.
LEFT, RIGHT = (425, 280, 330), (205, 50, 101)
EYE_CORNERS = (33, 263)
RADIUS = 0.08  # of the distance of the outer eye corners
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def cheek_luminance(pixels: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> tuple[float, float]:
    """Median linear luminance 0..1 of the subject's left and right cheek.

    Args:
        pixels: (H, W, 3) uint8 sRGB.
        landmarks: (478, 2) Face Mesh landmarks in pixels.
    """
    radius = max(1.0, RADIUS * float(np.linalg.norm(landmarks[EYE_CORNERS[0]] - landmarks[EYE_CORNERS[1]])))
    left, right = (np.concatenate([_disc(pixels, landmarks[i], radius) for i in cheek]) for cheek in (LEFT, RIGHT))
    return _luminance(left), _luminance(right)


def cheek_ratio(pixels: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> float:
    """Log2 of left over right cheek luminance: positive when the light comes from the right edge of the picture."""
    left, right = cheek_luminance(pixels, landmarks)
    return float(np.log2((left + 1e-3) / (right + 1e-3)))


def _luminance(pixels: NDArray[np.uint8]) -> float:
    return float(np.median(linear_from_pixels(pixels) @ LUMINANCE)) if len(pixels) else float("nan")


def _disc(pixels: NDArray[np.uint8], center: NDArray[np.floating], radius: float) -> NDArray[np.uint8]:
    """(n, 3) pixels within ``radius`` of ``center``."""
    x0, y0 = np.maximum(np.floor(center - radius).astype(int), 0)
    x1, y1 = np.maximum(np.ceil(center + radius).astype(int), 0)
    window = pixels[y0:y1, x0:x1]
    y, x = np.mgrid[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]] + 0.5
    return window[np.hypot(x - center[0], y - center[1]) <= radius]
