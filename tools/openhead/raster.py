"""A plain z-buffer, enough for the tool: the package's renderer is learned about by its own tests, not here."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def rasterise(points, triangles, width, height):  # type: ignore[no-untyped-def]
    """Nearest triangle of every pixel.

    Args:
        points: (N, 3) float64 x, y in pixels, and depth.
        triangles: (F, 3) int64.

    Returns:
        (H, W) float64 depth, infinite where empty; (H, W) int64 triangle or -1; (H, W, 3) barycentric weights in space,
        perspective corrected where depth is positive.
    """
    depth = np.full((height, width), np.inf)
    face = np.full((height, width), -1)
    weight = np.zeros((height, width, 3))
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        left = max(0, int(np.floor(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(np.ceil(max(x0, x1, x2) - 0.5)))
        top = max(0, int(np.floor(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(np.ceil(max(y0, y1, y2) - 0.5)))
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w0 = ((x1 - x - 0.5) * (y2 - y - 0.5) - (x2 - x - 0.5) * (y1 - y - 0.5)) / area
                w1 = ((x2 - x - 0.5) * (y0 - y - 0.5) - (x0 - x - 0.5) * (y2 - y - 0.5)) / area
                w2 = 1 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                z = 0.0
                if z0 > 0:
                    w0, w1, w2 = w0 / z0, w1 / z1, w2 / z2
                    total = w0 + w1 + w2
                    w0, w1, w2 = w0 / total, w1 / total, w2 / total
                    z = 1 / total
                if z < depth[y, x]:
                    depth[y, x] = z
                    face[y, x] = t
                    weight[y, x, 0], weight[y, x, 1], weight[y, x, 2] = w0, w1, w2
    return depth, face, weight
