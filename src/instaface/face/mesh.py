"""A posed triangle mesh in camera space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instaface.face.arrays import Array, like, namespace, unit


@dataclass(frozen=True)
class Mesh:
    """A batch of meshes that share their topology; arrays or tensors.

    Attributes:
        vertices: (B, V, 3) float32, centimetres, camera space.
        faces: (F, 3) int64, anticlockwise seen from outside.
        uv: (T, 2) float32 in 0..1, v upwards.
        uv_faces: (F, 3) int64 into ``uv``.
    """

    vertices: Array
    faces: Array
    uv: Array
    uv_faces: Array

    def normals(self) -> Array:
        """(B, V, 3) unit vertex normals, weighted by triangle area; of the kind of ``vertices``."""
        xp, faces = namespace(self.vertices), like(self.faces, self.vertices)
        a, b, c = (self.vertices[:, faces[:, k]] for k in range(3))
        face_normals = _cross(b - a, c - a).swapaxes(0, 1)
        # Summed along the first axis of a (V, 3 B) table, which takes a fraction of the time that other axes do.
        batch, count, _ = self.vertices.shape
        rows = xp.concatenate([face_normals.reshape(-1, 3 * batch)] * 3)
        total = _sums(rows, faces.T.reshape(-1), count)
        return unit(total.reshape(count, batch, 3).swapaxes(0, 1))


def _cross(a: Array, b: Array) -> Array:
    """Cross products of (..., 3) vectors."""
    (ax, ay, az), (bx, by, bz) = ([v[..., k] for k in range(3)] for v in (a, b))
    return namespace(a).stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def _sums(rows: Array, index: Array, count: int) -> Array:
    """(count, C) sums of those of (N, C) rows that have the same index."""
    if isinstance(rows, np.ndarray):
        return np.stack([np.bincount(index, column, count) for column in rows.T], -1).astype(rows.dtype)
    return rows.new_zeros(count, rows.shape[1]).index_add(0, index, rows)
