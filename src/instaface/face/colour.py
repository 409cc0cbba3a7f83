"""The sRGB transfer curve (IEC 61966-2-1): photos are sRGB, shading and albedo linear."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[np.float32], "Tensor")


def linear_from_srgb(srgb: Array) -> Array:
    """sRGB values 0..1 to linear RGB 0..1; numpy or torch, any shape; values below 0 stay linear."""
    dark: Any = srgb <= 0.04045
    return dark * (srgb / 12.92) + ~dark * ((srgb.clip(0) + 0.055) / 1.055) ** 2.4


def srgb_from_linear(linear: Array) -> Array:
    """Linear RGB 0..1 to sRGB values 0..1; numpy or torch, any shape; values below 0 stay linear."""
    dark: Any = linear <= 0.0031308
    return dark * (linear * 12.92) + ~dark * (1.055 * linear.clip(0.0031308) ** (1 / 2.4) - 0.055)


def linear_from_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 sRGB pixels of any shape to linear RGB, float32 0..1."""
    return _table()[pixels]


def pixels_from_linear(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear RGB of any shape to uint8 sRGB pixels; values outside of 0..1 are clipped."""
    return (srgb_from_linear(linear.clip(0, 1)) * 255 + 0.5).astype(np.uint8)


@cache
def _table() -> NDArray[np.float32]:
    return linear_from_srgb(np.arange(256, dtype=np.float32) / 255).astype(np.float32)
