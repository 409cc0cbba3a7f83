"""Cutting an aligned face out of a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
