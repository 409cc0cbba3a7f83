"""FFHQ's crop of a face."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# MediaPipe Face Mesh: corners of each eye and of the mouth, as in the picture from left to right.
LEFT_EYE, RIGHT_EYE, MOUTH = [33, 133], [362, 263], [61, 291]


def ffhq_quad(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """The square that FFHQ cuts out (Karras et al. 2019, appendix C, and the recipe published with the data set).

    Args:
        landmarks: (478, 2) Face Mesh landmarks in pixels.

    Returns:
        (3, 2) corners in pixels: top left, bottom left, bottom right.
    """
    points = np.asarray(landmarks, np.float64)
    left, right, mouth = (points[k].mean(0) for k in (LEFT_EYE, RIGHT_EYE, MOUTH))
    eyes, across = (left + right) / 2, right - left
    down = mouth - eyes
    x = across - np.array([-down[1], down[0]])  # across, and at a right angle to "down"
    x *= max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    center = eyes + 0.1 * down
    return np.stack([center - x - y, center - x + y, center + x + y])


def crop_ffhq(pixels: NDArray[np.uint8], landmarks: NDArray[np.floating], size: int) -> tuple[NDArray[np.uint8], float]:
    """Cuts a face out as FFHQ does; what lies outside of the photo is its border mirrored.

    Args:
        pixels: (H, W, 3) uint8.
        landmarks: (478, 2) in pixels.
        size: side of the crop.

    Returns:
        (size, size, 3) uint8, and the share of the crop that lies outside of the photo.
    """
    quad = ffhq_quad(landmarks)
    scale = size / np.hypot(*(quad[2] - quad[1]))
    if scale < 0.5:  # shrink by area first: bilinear sampling alone would alias
        factor = 2 * scale
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        quad = quad * factor
    corners = np.array([[0, 0], [0, size], [size, size]], np.float32)
    # OpenCV has pixel centres at whole numbers, we at halves.
    matrix = cv2.getAffineTransform((quad - 0.5).astype(np.float32), corners - 0.5)
    crop = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    inside = cv2.warpAffine(np.ones(pixels.shape[:2], np.float32), matrix, (size, size))
    return crop.astype(np.uint8), float(1 - inside.mean())
