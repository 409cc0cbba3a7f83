"""A pinhole camera that looks along -z.

Picture coordinates are continuous pixels: x right, y down, (0, 0) the outer corner of the first pixel, so that
pixel (i, j) has its centre at (i + 0.5, j + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instaface.face.arrays import Array, namespace

DEFAULT_FOCAL_RATIO = 1.8  # focal length over the photo's longer side where EXIF says nothing


@dataclass(frozen=True)
class Camera:
    """Perspective camera at the origin.

    Attributes:
        focal: focal length in pixels.
        center: principal point (x, y) in pixels; it may lie outside of the picture, as in a crop.
        width: picture width in pixels.
        height: picture height in pixels.
    """

    focal: float
    center: tuple[float, float]
    width: int
    height: int

    @classmethod
    def for_photo(cls, width: int, height: int, focal: float | None = None) -> Camera:
        """Camera of a whole photo: principal point in the middle, focal length in pixels if known."""
        return cls(focal or DEFAULT_FOCAL_RATIO * max(width, height), (width / 2, height / 2), width, height)

    def crop(self, x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Camera:
        """Camera of the picture's part at (x, y, width, height), resized to ``size`` = (width, height)."""
        sx, sy = size[0] / width, size[1] / height
        if abs(sx / sy - 1) > 0.02:
            raise ValueError(f"crop {width}x{height} cannot be resized to {size} with one scale")
        center = ((self.center[0] - x) * sx, (self.center[1] - y) * sy)
        return replace(self, focal=self.focal * sx, center=center, width=size[0], height=size[1])

    def project(self, points: Array) -> Array:
        """(..., 3) camera-space points (z negative in front of the camera) to (..., 3): x, y in pixels and depth.

        Depth is the distance along the optical axis, in the points' unit, positive in front of the camera.
        """
        depth = -points[..., 2]
        x = self.center[0] + self.focal * points[..., 0] / depth
        y = self.center[1] - self.focal * points[..., 1] / depth
        return namespace(points).stack([x, y, depth], -1)

    def unproject(self, xy: ArrayLike, depth: ArrayLike) -> NDArray[np.float32]:
        """(..., 2) pixels and (...) depths to (..., 3) camera-space points, float32."""
        xy, depth = np.asarray(xy, np.float32), np.asarray(depth, np.float32)
        x = (xy[..., 0] - self.center[0]) / self.focal * depth
        y = -(xy[..., 1] - self.center[1]) / self.focal * depth
        return np.stack([x, y, -depth], -1).astype(np.float32)
