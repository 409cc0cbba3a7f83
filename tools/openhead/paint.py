"""A hand-made albedo: one skin colour, with lips, brows, lids, irises and the mouth's inside painted by region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openhead.raster import rasterise
from openhead.regions import IRIS_DEGREES, above_hairline, brow_distance, eye_axis, lip_distance, smoothstep

SIZE = 256
# sRGB colours, 0..1.
SKIN, SCALP, LIPS = (0.80, 0.62, 0.53), (0.66, 0.50, 0.43), (0.71, 0.43, 0.40)
BROWS, LASHES = (0.30, 0.22, 0.18), (0.25, 0.18, 0.16)
SCLERA, IRIS, LIMBUS, PUPIL = (0.90, 0.88, 0.86), (0.36, 0.25, 0.17), (0.16, 0.12, 0.10), (0.03, 0.03, 0.03)
INSIDE = {
    "teeth": (0.83, 0.74, 0.65),  # as portraits show them, in warm light
    "gums": (0.70, 0.38, 0.37),
    "tongue": (0.70, 0.38, 0.37),
    "mouth": (0.42, 0.18, 0.17),
    "eye_sockets": (0.55, 0.33, 0.29),
}


def paint(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    uv: NDArray[np.float32],
    uv_faces: NDArray[np.int64],
    regions: dict[str, NDArray[np.bool_]],
    marks: NDArray[np.float64],
    to_lid: NDArray[np.float64],
    size: int = SIZE,
) -> NDArray[np.float64]:
    """A texture of sRGB colours.

    Args:
        vertices: (V, 3) the mean face, with its triangles, texture coordinates and regions.
        marks: (68, 3) iBUG points that brows and lips follow.
        to_lid: (V,) centimetres along the skin to the edge of the lids.
        size: S.

    Returns:
        (S, S, 3) 0..1, row 0 at v = 1; what no triangle covers continues the nearest colour.
    """
    plane = np.column_stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, np.zeros(len(uv))]).astype(np.float64)
    _, face, weight = rasterise(plane, uv_faces, size, size)
    covered = face >= 0
    corners = triangles[face[covered]]
    bary = weight[covered]

    def sample(values: NDArray) -> NDArray:
        return np.einsum("nk,nk...->n...", bary, np.asarray(values, float)[corners])

    colour = np.tile(np.array(SKIN), (len(corners), 1))

    def blend(amount: NDArray, rgb: tuple[float, float, float]) -> None:
        colour[:] += amount[:, None] * (np.array(rgb) - colour)

    place = sample(vertices)
    front = smoothstep(6.0, 7.0, place[:, 2])
    blend(smoothstep(-0.4, 0.4, above_hairline(place)) * (1 - sample(regions["ears"])), SCALP)
    blend(0.85 * front * smoothstep(0.5, 0.15, brow_distance(place, marks)), BROWS)
    blend(front * smoothstep(0.06, -0.06, lip_distance(place, marks)), LIPS)
    edge = sample(to_lid)
    upper = np.where(place[:, 1] > marks[36:48, 1].mean(), 0.8, 0.35)
    blend(upper * smoothstep(0.0, 0.12, edge) * smoothstep(0.38, 0.22, edge), LASHES)
    for name, rgb in INSIDE.items():
        inside = regions[name][corners].any(1) & ~regions["skin"][corners].all(1)
        # Light does not reach the depth of the mouth.
        colour[inside] = np.array(rgb) * (0.35 + 0.65 * smoothstep(4.5, 9.0, place[inside, 2]))[:, None]
    for side in ("left", "right"):
        eye = regions[f"eyeball_{side}"]
        centre, pole = eye_axis(vertices, np.flatnonzero(eye))
        inside = eye[corners].all(1)
        direction = sample(vertices)[inside] - centre
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        angle = np.degrees(np.arccos(np.clip(direction @ pole, -1, 1)))[:, None]
        iris = IRIS + (np.array(LIMBUS) - IRIS) * smoothstep(0.75 * IRIS_DEGREES, IRIS_DEGREES, angle)
        iris += (np.array(PUPIL) - iris) * smoothstep(0.45 * IRIS_DEGREES, 0.38 * IRIS_DEGREES, angle)
        outside = smoothstep(IRIS_DEGREES - 0.8, IRIS_DEGREES + 0.8, angle)
        colour[inside] = iris + (np.array(SCLERA) - iris) * outside
    out = np.zeros((size, size, 3))
    out[covered] = colour
    return fill(out, covered)


def fill(texture: NDArray[np.float64], covered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Texels without a triangle take the nearest one's colour."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[tuple(nearest)]
