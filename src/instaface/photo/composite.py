"""Back into the photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS = 512  # worked on at once: memory, not speed


def composite(
    pixels: NDArray[np.uint8], edited: NDArray[np.uint8], mask: NDArray[np.float32], x: int, y: int, fade: float = 0.0
) -> NDArray[np.uint8]:
    """Lay an edited part over a photo; what the mask leaves out stays as it is, to the bit.

    Args:
        pixels: (H, W, 3) uint8, the photo.
        edited: (h, w, 3) uint8, the part.
        mask: (h, w) float32 0..1, how much of the part is taken.
        x: column of the photo where the part begins.
        y: row of the photo where the part begins.
        fade: width in pixels over which the mask fades to 0 at the part's edges, where the photo goes on behind them:
            light that changed in the part must not end in a line.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        ValueError: the part does not lie inside the photo, or the shapes disagree.
    """
    height, width = mask.shape
    out = pixels.copy()
    region = out[y : y + height, x : x + width]
    if min(x, y) < 0 or edited.shape != region.shape or region.shape[:2] != mask.shape:
        raise ValueError(f"a part of shape {edited.shape} with mask {mask.shape} does not fit at ({x}, {y})")
    if fade:
        beyond = (x, pixels.shape[1] - x - width, y, pixels.shape[0] - y - height)
        mask = mask * _fades(height, beyond[2:], fade)[:, None] * _fades(width, beyond[:2], fade)
    for top in range(0, height, ROWS):
        band = slice(top, top + ROWS)
        part, weight = region[band], mask[band]
        cv2.copyTo(edited[band], (weight >= 1).view(np.uint8), part)
        touched = (weight > 0) & (weight < 1)
        weight = weight[touched][:, None]
        blend = part[touched] + weight * (edited[band][touched].astype(np.float32) - part[touched])
        part[touched] = np.rint(blend).astype(np.uint8)
    return out


def _fades(size: int, beyond: tuple[int, int], fade: float) -> NDArray[np.float32]:
    """(size,) 1 in the middle, smoothly to 0 at each end beyond which the photo goes on."""
    centres, t = np.arange(size) + 0.5, np.ones(size)
    if beyond[0] > 0:
        t = np.minimum(t, centres / fade)
    if beyond[1] > 0:
        t = np.minimum(t, centres[::-1] / fade)
    return (t * t * (3 - 2 * t)).astype(np.float32)
