"""A posed triangle mesh in camera space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """A batch of meshes that share their topology.

    Attributes:
        vertices: (B, V, 3) float32, centimetres, camera space.
        faces: (F, 3) int64, anticlockwise seen from outside.
        uv: (T, 2) float32 in 0..1, v upwards.
        uv_faces: (F, 3) int64 into ``uv``.
    """

    vertices: Tensor
    faces: Tensor
    uv: Tensor
    uv_faces: Tensor

    def normals(self) -> Tensor:
        """(B, V, 3) unit vertex normals, weighted by triangle area."""
        a, b, c = (self.vertices[:, self.faces[:, k]] for k in range(3))
        face_normals = torch.linalg.cross(b - a, c - a).transpose(0, 1)
        # Summed along the first axis of a (V, 3 B) table, which takes a fraction of the time that other axes do.
        batch, count, _ = self.vertices.shape
        rows = face_normals.reshape(-1, 3 * batch).repeat(3, 1)
        total = rows.new_zeros(count, 3 * batch).index_add(0, self.faces.T.reshape(-1), rows)
        return torch.nn.functional.normalize(total.view(count, batch, 3).transpose(0, 1), dim=-1)
