"""The interface of a 3D face model."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from instaface.face.arrays import Array, like
from instaface.face.mesh import Mesh
from instaface.face.parameters import FaceParameters

if TYPE_CHECKING:
    import torch

Model = TypeVar("Model", bound="MorphableModel")


class MorphableModel(ABC):
    """Turns :class:`FaceParameters` into a :class:`Mesh`: batched, and differentiable where the parameters are tensors.

    The model's own arrays are of either kind, NumPy's or PyTorch's; :meth:`to` makes tensors of them.

    Attributes:
        name: "openhead" or "flame".
        expression_names: names of the expression weights, in order.
        n_identity: number of identity coefficients.
        n_albedo: number of albedo coefficients.
        faces: (F, 3) int64 triangles, anticlockwise seen from outside.
        uv: (T, 2) float32 texture coordinates, 0..1, v upwards.
        uv_faces: (F, 3) int64 into ``uv``.
        regions: name of a region (``skin``, ``lips``, ``scalp``, ...) to (n,) int64 vertex indices.
        head_weight: (V,) float32: 1 where a vertex follows the head, 0 where it follows the shoulders.
    """

    name: str
    expression_names: tuple[str, ...]
    n_identity: int
    n_albedo: int
    faces: Array
    uv: Array
    uv_faces: Array
    regions: dict[str, Array]
    head_weight: Array

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Those of ``expression_names`` that are weights 0..1 by name; the others are the model's own coefficients."""
        return self.expression_names

    @abstractmethod
    def vertices(self, parameters: FaceParameters) -> Array:
        """(B, V, 3) vertices in camera space, centimetres."""

    @abstractmethod
    def landmarks(self, vertices: Array, scheme: str) -> Array:
        """(B, L, 3) landmarks of posed ``vertices``; scheme "mediapipe" (478 points) or "ibug" (68 points).

        Raises:
            ValueError: the model has no such scheme.
        """

    @abstractmethod
    def albedo(self, coefficients: Array) -> Array:
        """(B, A) coefficients to (B, 3, S, S) linear RGB albedo texture, 0..1; row 0 is v = 1."""

    def mesh(self, parameters: FaceParameters) -> Mesh:
        """The posed mesh."""
        return Mesh(self.vertices(parameters), self.faces, self.uv, self.uv_faces)

    def neutral(self, batch: int = 1) -> FaceParameters:
        """Parameters of the mean face of this model, arrays or tensors as the model's own."""
        neutral = FaceParameters.neutral(self.n_identity, len(self.expression_names), self.n_albedo, batch)
        return neutral.map(lambda array: like(array, self.head_weight))

    def to(self: Model, device: torch.device | str) -> Model:
        """A copy of the model whose arrays are tensors on ``device``."""
        out = copy.copy(self)
        for name, value in vars(self).items():
            setattr(out, name, _moved(value, device))
        return out


def _moved(value: Any, device: torch.device | str) -> Any:
    """Arrays, also in dictionaries and tuples, as tensors on ``device``; all else as it is."""
    import torch

    if isinstance(value, np.ndarray | torch.Tensor):
        return torch.as_tensor(value, device=device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return value
