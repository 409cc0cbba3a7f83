"""How much of the light from around reaches each vertex of a face model: the nose shades the cheek, the brow the eye,
the chin the neck."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instaface.face import FaceParameters, MorphableModel, rotation_from_angles
from instaface.face.light import basis, rotate
from instaface.render.rasterise import rasterise

Array = NDArray[np.float32]

DIRECTIONS = 80  # from which light is let in, evenly over the sphere
SIDE = 96  # pixels of the depth maps that tell what a direction reaches
BIAS = 0.25  # centimetres by which a vertex may lie behind the surface that a depth map shows
SHUT_IN = 0.25  # share of the sky below which a vertex is taken for the inside of something that may open
DARKEST = 0.15  # share of the unshadowed light that always remains: skin reflects onto skin
LAMBERT = np.repeat([np.pi, 2 * np.pi / 3, np.pi / 4], [1, 3, 5])  # factors of the bands, Ramamoorthi and Hanrahan 2001


def unshadowed(model: MorphableModel, parameters: FaceParameters, light: ArrayLike) -> Array:
    """(V,) share 0..1 of a light's shading that is left at each vertex once the head itself stands in its way.

    Precomputed radiance transfer (Sloan, Kautz and Snyder 2002, section 4.1) for the mean face at rest: light and face
    meet in the head's frame, so that only the light's coefficients turn. Shadows are as soft as second-order light.

    Args:
        model: the face model.
        parameters: of that model, batch of 1; their head pose counts.
        light: (9, 3) coefficients, camera space.
    """
    transfer, open_sky, source = _transfer(model)
    back = np.asarray(rotation_from_angles(parameters.head[0])).T
    grey = rotate(np.asarray(light).mean(-1), back)
    free = (open_sky @ grey).clip(0.05 * max(float(grey[0]), 1e-3))
    return ((transfer @ grey) / free).clip(DARKEST, 1)[source]


@functools.lru_cache(maxsize=2)
def _transfer(model: MorphableModel) -> tuple[Array, Array, NDArray[np.int64]]:
    """(V, 9) shading by each coefficient of the light with and without the head in the way, and (V,) int64 the vertex
    whose values a vertex takes: its own, or the nearest in the open."""
    from scipy.spatial import cKDTree

    mesh = model.mesh(model.neutral())
    points, normals = np.asarray(mesh.vertices[0]), np.asarray(mesh.normals()[0])
    faces = np.asarray(model.faces).astype(np.int32)
    towards = evenly(DIRECTIONS)
    incoming = basis(towards) / LAMBERT * (4 * np.pi / DIRECTIONS)
    blocked, shut, facing = np.zeros((len(points), 9)), np.zeros(len(points)), np.zeros(len(points))
    for direction, light in zip(towards, incoming, strict=True):
        cosine = np.maximum(normals @ direction, 0)
        hidden = cosine * ~reached(points, faces, direction)
        blocked += hidden[:, None] * light
        shut, facing = shut + hidden, facing + cosine
    open_sky = basis(normals)
    transfer = open_sky - _smooth(blocked, faces)
    outside = np.flatnonzero(shut < (1 - SHUT_IN) * facing)
    source = outside[cKDTree(points[outside]).query(points)[1]]
    return transfer.astype(np.float32), open_sky, source


def evenly(count: int) -> Array:
    """(N, 3) unit vectors, evenly over the sphere (Fibonacci's spiral)."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + np.sqrt(5)) * k
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], -1).astype(np.float32)


def reached(
    points: Array, faces: NDArray[np.int32], direction: Array, side: int = SIDE, bias: float = BIAS
) -> NDArray[np.bool_]:
    """(V,) vertices that light from one direction reaches: what a camera far away in that direction sees.

    Args:
        points: (V, 3) float32 vertices, centimetres.
        faces: (F, 3) their triangles.
        direction: (3,) unit vector towards the light.
        side: pixels of the depth map.
        bias: centimetres by which a vertex may lie behind the surface that the depth map shows.
    """
    points = points - points.mean(0)
    up = np.eye(3, dtype=np.float32)[np.abs(direction).argmin()]
    right = np.cross(up, direction)
    right /= np.linalg.norm(right)
    down = np.cross(right, direction)
    flat = points @ np.stack([right, down], -1)
    extent = 1.02 * np.abs(flat).max()
    pixels = (flat / extent + 1) * (side / 2)
    depth = (2 * np.abs(points).max() - points @ direction).astype(np.float32)
    # Depth goes as its own inverse through the rasteriser, as in a perspective picture: nearly linear from afar.
    far = depth + 100 * extent
    raster = rasterise(np.concatenate([pixels, far[:, None]], -1).astype(np.float32), faces, side, side)
    column, row = pixels.astype(int).clip(0, side - 1).T
    nearest = np.lib.stride_tricks.sliding_window_view(np.pad(raster.depth, 1, constant_values=np.inf), (3, 3))
    return far <= nearest[row, column].max((1, 2)) + bias


def _smooth(values: NDArray, faces: NDArray[np.int32], rounds: int = 3) -> NDArray:
    """(V, C) averaged with the neighbours: depth maps are coarse."""
    corners = np.concatenate([faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    count = np.bincount(corners[:, 0], minlength=len(values))[:, None] + 1
    for _ in range(rounds):
        total = np.stack([np.bincount(corners[:, 0], v[corners[:, 1]], len(values)) for v in values.T], -1)
        values = (values + total) / count
    return values
