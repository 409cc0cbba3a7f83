"""Figures of two pictures of the same size, within a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def psnr(a: Pixels, b: Pixels, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB of (H, W, 3) uint8 pictures: infinite where they agree, NaN in an empty mask."""
    import cv2

    count = a.size if mask is None else 3 * int(mask.sum())
    if count == 0:
        return float("nan")
    error = cv2.norm(a, b, cv2.NORM_L2SQR, None if mask is None else mask.astype(np.uint8)) / count
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(a: Pixels, b: Pixels, mask: Mask | None = None) -> float:
    """Structural similarity, its mean over the mask."""
    values = ssim_map(a, b)
    values = values if mask is None else values[mask]
    return float(values.mean()) if values.size else float("nan")


def ssim_map(a: Pixels, b: Pixels) -> NDArray[np.floating]:
    """(H, W, 3) structural similarity around each pixel (Wang et al. 2004, equation 13, Gaussian window of sigma 1.5).

    What scikit-image computes, ten times as fast.
    """
    import cv2

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT).astype(np.float32)

    x, y = a.astype(np.float32), b.astype(np.float32)
    mean_x, mean_y = mean(x), mean(y)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance, variances = mean(x * y) - product, mean(x * x + y * y) - squares
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def colour_shift(a: Pixels, b: Pixels, mask: Mask | None = None) -> float:
    """CIEDE2000 difference of the two mean colours (of the sRGB values): 1 is just visible side by side."""
    import cv2
    from skimage.color import deltaE_ciede2000, rgb2lab

    if mask is not None and not mask.any():
        return float("nan")
    within = None if mask is None else mask.astype(np.uint8)
    means = [rgb2lab(np.array(cv2.mean(picture, within)[:3]) / 255) for picture in (a, b)]
    return float(deltaE_ciede2000(*means))


def laplacian_energy(pixels: Pixels, mask: Mask | None = None) -> float:
    """Mean square of the Laplacian of the luminance (0..255), the usual measure of focus (Pech-Pacheco et al. 2000)."""
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    values = cv2.Laplacian(grey, cv2.CV_32F)
    values = values if mask is None else values[mask]
    return float((values**2).mean()) if values.size else float("nan")


def sharpness_kept(source: Pixels, edit: Pixels, mask: Mask | None = None, edit_mask: Mask | None = None) -> float:
    """Laplacian energy of the edit over that of the source: 1 keeps it, below 1 is over-smoothed.

    The two pictures may have masks of their own, as the same part of a face lies elsewhere after an edit.
    """
    before = laplacian_energy(source, mask)
    after = laplacian_energy(edit, mask if edit_mask is None else edit_mask)
    return after / before if before > 0 else float("nan")
