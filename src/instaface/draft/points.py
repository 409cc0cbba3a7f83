"""What the draft does to each point of its surfaces, compiled.

Each kernel works on points ``first`` to ``last``, so that parts of them run in threads, see
:func:`instaface.render.rasterise.in_bands`. Arrays are float32 and contiguous unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def turn_points(  # type: ignore[no-untyped-def]
    first, last, local, normals, step, turned, pull, pulled, translation, points, turned_normals
):
    """Points that follow the head by their weight, in the edited view.

    Args:
        local: (N, 3) about the neck joint, as in the photo.
        normals: (N, 3).
        step: (N,) int64 rows of the tables, by the points' weights.
        turned: (S, 3, 3) rotations from the photo to the edited view.
        pull: (n, 3) way of each point with the expression, in the unturned head; repeats for each n points.
        pulled: (S, 3, 3) skinning matrices of the photo.
        translation: (3,) of the edited view.
        points, turned_normals: (N, 3) results.
    """
    along = np.zeros(3, np.float32)
    for v in range(first, last):
        rotation, skinning, way = turned[step[v]], pulled[step[v]], pull[v % len(pull)]
        for r in range(3):
            along[r] = local[v, r] + skinning[r, 0] * way[0] + skinning[r, 1] * way[1] + skinning[r, 2] * way[2]
        for r in range(3):
            a, b, c = rotation[r]
            points[v, r] = a * along[0] + b * along[1] + c * along[2] + translation[r]
            turned_normals[v, r] = a * normals[v, 0] + b * normals[v, 1] + c * normals[v, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def project_points(  # type: ignore[no-untyped-def]
    first, last, points, normals, focal, cx, cy, before, places, facing, moved
):
    """Where points are seen, how they face the camera, and how far that is from where they were.

    Args:
        points, normals: (N, 3) camera space.
        focal, cx, cy: of the camera, pixels.
        before: (N, 3) ``places`` in the photo.
        places: (N, 3) results: x, y in pixels and depth.
        facing: (N,) results, strided: cosine between normal and line of sight.
        moved: (N,) results, strided: pixels along x or y.
    """
    for v in range(first, last):
        x, y, z = points[v]
        places[v, 0], places[v, 1], places[v, 2] = cx - focal * x / z, cy + focal * y / z, -z
        facing[v] = -(x * normals[v, 0] + y * normals[v, 1] + z * normals[v, 2]) / np.sqrt(x * x + y * y + z * z)
        moved[v] = max(abs(places[v, 0] - before[v, 0]), abs(places[v, 1] - before[v, 1]))


@njit(cache=True, nogil=True, error_model="numpy")
def sizes_around(places, faces, size):  # type: ignore[no-untyped-def]
    """(V,) area in the picture of the triangles around each vertex, 0 for what faces away; (V,) result, from 0."""
    for f in range(len(faces)):
        a, b, c = places[faces[f, 0]], places[faces[f, 1]], places[faces[f, 2]]
        twice = (b[1] - a[1]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[1] - a[1])
        if twice > 0:
            for k in range(3):
                size[faces[f, k]] += 0.5 * twice
