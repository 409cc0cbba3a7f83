"""What the draft does to each point of its surfaces, compiled.

Each kernel works on points ``first`` to ``last``, so that parts of them run in threads, see
:func:`instaface.render.rasterise.in_bands`. Arrays are float32 and contiguous unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DIMMEST = 0.08  # of the mean shading: where less light falls there is nothing to scale
LEVEL = 17.0  # times half of that: beyond, smoothing the step to it makes no difference
TINT = 0.3  # share of the old light's changes of colour over the face that is believed
MOST = 1 / 16, 3.5  # times a pixel's light at most; dark pixels are noise where they are made bright
KNEE = 0.6  # share of the way there (of the logarithm) from which on changes are held back, so as to end softly


@njit(cache=True, nogil=True)
def turn_points(  # type: ignore[no-untyped-def]
    first, last, needed, local, normals, step, turned, pull, pulled, translation, points, turned_normals
):
    """Points that follow the head by their weight, in the edited view.

    Args:
        needed: (N,) bool, the points that count; the others stay as they are.
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
        if not needed[v]:
            continue
        rotation, skinning, way = turned[step[v]], pulled[step[v]], pull[v % len(pull)]
        for r in range(3):
            along[r] = local[v, r] + skinning[r, 0] * way[0] + skinning[r, 1] * way[1] + skinning[r, 2] * way[2]
        for r in range(3):
            a, b, c = rotation[r]
            points[v, r] = a * along[0] + b * along[1] + c * along[2] + translation[r]
            turned_normals[v, r] = a * normals[v, 0] + b * normals[v, 1] + c * normals[v, 2]


@njit(cache=True, nogil=True)
def project_points(  # type: ignore[no-untyped-def]
    first, last, needed, points, normals, focal, cx, cy, before, places, facing, moved
):
    """Where points are seen, how they face the camera, and how far that is from where they were.

    Args:
        needed: (N,) bool, the points that count; of the others the results are left as they are.
        points, normals: (N, 3) camera space.
        focal, cx, cy: of the camera, pixels.
        before: (N, 3) ``places`` in the photo.
        places: (N, 3) results: x, y in pixels and depth.
        facing: (N,) results, strided: cosine between normal and line of sight.
        moved: (N,) results, strided: pixels along x or y.
    """
    for v in range(first, last):
        if not needed[v]:
            continue
        x, y, z = points[v]
        places[v, 0], places[v, 1], places[v, 2] = cx - focal * x / z, cy + focal * y / z, -z
        facing[v] = -(x * normals[v, 0] + y * normals[v, 1] + z * normals[v, 2]) / np.sqrt(x * x + y * y + z * z)
        moved[v] = max(abs(places[v, 0] - before[v, 0]), abs(places[v, 1] - before[v, 1]))


@njit(cache=True, nogil=True)
def shade_points(first, last, normals, light, mean, shadow, lit):  # type: ignore[no-untyped-def]
    """Light on surfaces, see :func:`instaface.draft.relight.shading`.

    Args:
        normals: (N, 3) unit, camera space.
        light: (9, 3) coefficients.
        mean: (3,) what surfaces that face the camera get of it.
        shadow: (N,) share of the light that is left.
        lit: (N, 3) results.
    """
    parts = np.empty(3, np.float64)
    for v in range(first, last):
        x, y, z = normals[v]
        for c in range(3):
            value = light[0, c] + x * light[1, c] + y * light[2, c] + z * light[3, c]
            value += x * y * light[4, c] + x * z * light[5, c] + y * z * light[6, c]
            value += (x * x - y * y) * light[7, c] + (3 * z * z - 1) * light[8, c]
            parts[c] = value * shadow[v] / mean[c]
        grey = (parts[0] + parts[1] + parts[2]) / 3
        for c in range(3):
            # max(x, 0) without a kink, which would show as a line across a face.
            way = (grey + TINT * (parts[c] - grey) - DIMMEST) / (0.5 * DIMMEST)
            soft = max(way, 0.0)
            if abs(way) < LEVEL:
                soft += np.log1p(np.exp(-abs(way)))
            lit[v, c] = mean[c] * DIMMEST * (1 + 0.5 * soft)


@njit(cache=True, nogil=True)
def bound_points(first, last, log, ratio):  # type: ignore[no-untyped-def]
    """(N,) logarithms of ratios to ratios within ``MOST``, smoothly; (N,) results."""
    for k in range(first, last):
        end = np.log(MOST[0] if log[k] < 0 else MOST[1])
        over = log[k] / end - KNEE
        if over > 0:
            ratio[k] = np.exp(end * (KNEE + (1 - KNEE) * np.tanh(over / (1 - KNEE))))
        else:
            ratio[k] = np.exp(log[k])


@njit(cache=True, nogil=True)
def sizes_around(places, faces, size):  # type: ignore[no-untyped-def]
    """(V,) area in the picture of the triangles around each vertex, 0 for what faces away; (V,) result, from 0."""
    for f in range(len(faces)):
        a, b, c = places[faces[f, 0]], places[faces[f, 1]], places[faces[f, 2]]
        twice = (b[1] - a[1]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[1] - a[1])
        if twice > 0:
            for k in range(3):
                size[faces[f, k]] += 0.5 * twice
