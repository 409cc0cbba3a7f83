"""A decoded photo and what has to survive an edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG was compressed, so that an edit is not compressed harder or softer.

    Attributes:
        tables: quantisation tables, 64 numbers each.
        subsampling: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0, -1 where unknown.
        progressive: whether it is a progressive file.
    """

    tables: dict[int, list[int]]
    subsampling: int
    progressive: bool


@dataclass(frozen=True)
class Photo:
    """A photo as it is seen: upright, in sRGB-encoded RGB or, where an ICC profile is kept, that profile's RGB.

    Attributes:
        pixels: (H, W, 3) uint8.
        alpha: (H, W) uint8, or None where the photo is opaque.
        path: the file it came from, or None.
        icc: ICC profile bytes to be written back, or None for sRGB.
        exif: EXIF block to be written back (orientation and sizes in line, no thumbnail), or None.
        focal: focal length in pixels from EXIF, or None.
        xmp: XMP packet as it was found, or None.
        format: name of the file format as Pillow has it ("JPEG", "PNG", ...), or None.
        encoded: the bytes of the file as they were read, or None where there was no file.
        jpeg: how the file was compressed, where it is a JPEG.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    path: Path | None = None
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    focal: float | None = None
    xmp: bytes | None = field(default=None, repr=False)
    format: str | None = None
    encoded: bytes | None = field(default=None, repr=False)
    jpeg: JpegCoding | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
