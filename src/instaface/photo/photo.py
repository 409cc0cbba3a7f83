"""A decoded photo and what has to survive an edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Photo:
    """A photo as it is seen: upright, in sRGB-encoded RGB or, where an ICC profile is kept, that profile's RGB.

    Attributes:
        pixels: (H, W, 3) uint8.
        alpha: (H, W) uint8, or None where the photo is opaque.
        path: the file it came from, or None.
        icc: ICC profile bytes to be written back, or None for sRGB.
        exif: EXIF block to be written back (orientation already brought in line), or None.
        focal: focal length in pixels from EXIF, or None.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    path: Path | None = None
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    focal: float | None = None

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
