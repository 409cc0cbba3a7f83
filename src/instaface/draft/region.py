"""Where a draft may be worked over: what is not the photo's own, and the seams around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.compose import Draft

OWN = 0.75  # coverage below which a pixel is no more the photo's than mirrored or filled
# Of the picture's longer side: what is narrower (the outlines of eyes) is left alone; the band's width, twice; the
# deviation of the blur at its end.
LINE, BAND, FADE = 0.004, 0.03, 0.005
LOOKED_AT = 512  # pixels on the longer side that say whether there is anything


def reworked(coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is not the photo's own, and a band of what borders on it.

    Seams lie on the border, so neither side of it can stay as it is; all else does, to the bit.

    Args:
        coverage: (H, W) 1 seen, 0.5 mirrored, 0 invented.

    Returns:
        (H, W) float32 0..1, fading at its ends.
    """
    side = max(coverage.shape)
    lines, band = (_disc(share * side) for share in (LINE, BAND))
    invented = (coverage < OWN).astype(np.uint8)
    wide = cv2.dilate(cv2.morphologyEx(invented, cv2.MORPH_OPEN, lines), band)
    return cv2.GaussianBlur(wide.astype(np.float32), (0, 0), FADE * side)


def to_be_reworked(drawn: Draft) -> bool:
    """Whether there is such a region in a draft: an edit that moves the light alone, for one, has none."""
    shown = np.where(drawn.mask > 0, drawn.coverage, np.float32(1))
    scale = min(1.0, LOOKED_AT / max(shown.shape))
    return bool(reworked(cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)).any())


def _disc(diameter: float) -> NDArray[np.uint8]:
    side = 2 * round(diameter / 2) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
