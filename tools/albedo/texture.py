"""Textures as pictures: their two halves, and what photos do not show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

Floats = NDArray[np.float32]


def symmetric(colour: Floats, trust: Floats) -> tuple[Floats, Floats]:
    """Both halves of a texture put together: (S, S, 3) and (S, S), each the same as its mirror image."""
    other, other_trust = colour[:, ::-1], trust[:, ::-1]
    total = trust + other_trust
    mean = (trust[..., None] * colour + other_trust[..., None] * other) / np.maximum(total, 1e-6)[..., None]
    return mean, np.minimum(total, 1)


def membrane(values: Floats, known: NDArray[np.bool_], domain: NDArray[np.bool_]) -> Floats:
    """Continue values smoothly: what is not known solves Laplace's equation, with no flow out of the domain.

    Args:
        values: (S, S, C).
        known: (S, S) bool.
        domain: (S, S) bool; values outside of it play no part.

    Returns:
        (S, S, C)
    """
    index = np.full(domain.shape, -1)
    unknown = domain & ~known
    index[unknown] = np.arange(unknown.sum())
    rows, columns, weights = [], [], []
    right = np.zeros((unknown.sum(), values.shape[-1]))
    degree = np.full(unknown.sum(), 1e-9)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        neighbour = np.roll(index, -step, axis)
        inside = np.roll(domain, -step, axis) & unknown
        fixed = inside & np.roll(known, -step, axis)
        open_ = inside & ~fixed
        degree += inside[unknown]
        rows.append(index[open_])
        columns.append(neighbour[open_])
        weights.append(np.full(open_.sum(), -1.0))
        right[index[fixed]] += np.roll(values, -step, axis)[fixed]
    diagonal = np.arange(len(degree))
    laplace = coo_matrix(
        (np.concatenate([*weights, degree]), (np.concatenate([*rows, diagonal]), np.concatenate([*columns, diagonal])))
    )
    out = values.copy()
    out[unknown] = splu(laplace.tocsc()).solve(right)
    return out


def spread_out(values: Floats, covered: NDArray[np.bool_]) -> Floats:
    """Texels of no triangle take the value of the nearest texel that has one, so that filters may read them."""
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return values[tuple(nearest)]
