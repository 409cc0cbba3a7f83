"""Cutting an aligned face out of a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Where insightface puts the middle of the two eyes (picture-left one first), the tip of the nose and the corners of
# the mouth in a face of 112 x 112 pixels.
FIVE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# The same in MediaPipe Face Mesh; of each eye four points on its ring.
EYES = ([33, 133, 159, 145], [362, 263, 386, 374])
NOSE, MOUTH_LEFT, MOUTH_RIGHT = 4, 61, 291


def five_points(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(478, 2) MediaPipe Face Mesh landmarks to the (5, 2) points of :data:`FIVE_POINTS`."""
    landmarks = np.asarray(landmarks, np.float64)
    eyes = [landmarks[ring].mean(0) for ring in EYES]
    return np.stack([*eyes, landmarks[NOSE], landmarks[MOUTH_LEFT], landmarks[MOUTH_RIGHT]])


def similarity_transform(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The least-squares similarity (rotation, scale, shift) from ``source`` to ``target``, (P, 2) points each.

    With points as complex numbers it is the line w = a z + b (the 2D case of Umeyama 1991, without reflection).

    Returns:
        (2, 3) matrix.
    """
    z = source[:, 0] + 1j * source[:, 1]
    w = target[:, 0] + 1j * target[:, 1]
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def crop_similarity(
    pixels: NDArray[np.uint8], points: NDArray[np.floating], template: NDArray[np.floating], size: int
) -> NDArray[np.uint8]:
    """Moves ``points`` of a photo onto ``template`` and cuts out (size, size, 3) pixels, black outside of the photo.

    Coordinates are continuous: pixel (i, j) has its centre at (i + 0.5, j + 0.5).
    """
    import cv2

    matrix = similarity_transform(points, template)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # shrink by area first: bilinear sampling alone would alias
        height, width = pixels.shape[:2]
        small = (max(1, round(2 * scale * width)), max(1, round(2 * scale * height)))
        factors = np.array(small) / (width, height)
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        matrix = similarity_transform(points * factors, template)
    matrix[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5  # OpenCV has pixel centres at whole numbers
    return cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.uint8)
