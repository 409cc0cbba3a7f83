"""Back into the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def composite(
    pixels: NDArray[np.uint8], edited: NDArray[np.uint8], mask: NDArray[np.float32], x: int, y: int
) -> NDArray[np.uint8]:
    """Lay an edited part over a photo; what the mask leaves out stays as it is, to the bit.

    Args:
        pixels: (H, W, 3) uint8, the photo.
        edited: (h, w, 3) uint8, the part.
        mask: (h, w) float32 0..1, how much of the part is taken.
        x: column of the photo where the part begins.
        y: row of the photo where the part begins.

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
    touched = mask > 0
    weight = np.clip(mask[touched], 0, 1)[:, None]
    blend = region[touched] + weight * (edited[touched].astype(np.float32) - region[touched])
    region[touched] = np.rint(blend).astype(np.uint8)
    return out
