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
        face_normals = torch.linalg.cross(b - a, c - a)
        out = torch.zeros_like(self.vertices)
        for k in range(3):
            out = out.index_add(1, self.faces[:, k], face_normals)
        return torch.nn.functional.normalize(out, dim=-1)
