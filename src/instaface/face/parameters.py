"""The numbers that describe a face in a photo."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.face.arrays import Array, like


@dataclass(frozen=True)
class FaceParameters:
    """Parameters of a batch of B faces, float32. What an edit changes and a :class:`MorphableModel` poses.

    All are NumPy arrays, as the tracker finds them, or all are tensors: where one given is a tensor, the others become
    tensors on its device.

    Attributes:
        identity: (B, I) coefficients in standard deviations.
        expression: (B, E) weights, in the order of the model's ``expression_names``.
        head: (B, 3) degrees: yaw, pitch, roll of the head in camera space (see :mod:`instaface.face.rotation`).
        body: (B, 3) degrees: the same of the shoulders, which an edit of the head leaves where they are.
        translation: (B, 3) centimetres: the neck joint in camera space; z is negative in front of the camera.
        gaze: (B, 2, 2) degrees: (left, right) eye x (horizontal, vertical) relative to the head, signs as yaw
            and pitch. "Left" is the subject's left, at the right of the picture.
        albedo: (B, A) coefficients of the albedo model in standard deviations.
        light: (B, 9, 3) spherical harmonics x linear RGB (see :mod:`instaface.face.light`).
        jaw: (B, 3) degrees about the jaw joint, for models that have one (FLAME), else zero.
    """

    identity: Array
    expression: Array
    head: Array
    body: Array
    translation: Array
    gaze: Array
    albedo: Array
    light: Array
    jaw: Array

    def __post_init__(self) -> None:
        given = [getattr(self, f.name) for f in fields(self)]
        tensor = next((value for value in given if not isinstance(value, np.ndarray)), None)
        if tensor is not None:
            for f, value in zip(fields(self), given, strict=True):
                object.__setattr__(self, f.name, like(value, tensor))

    @classmethod
    def neutral(cls, identity: int, expression: int, albedo: int, batch: int = 1) -> FaceParameters:
        """A mean face, half a metre in front of the camera, in white ambient light; NumPy arrays."""

        def zeros(*shape: int) -> NDArray[np.float32]:
            return np.zeros((batch, *shape), np.float32)

        return cls(
            identity=zeros(identity),
            expression=zeros(expression),
            head=zeros(3),
            body=zeros(3),
            translation=zeros(3) + np.array([0, -10, -60], np.float32),
            gaze=zeros(2, 2),
            albedo=zeros(albedo),
            light=zeros(9, 3) + np.eye(9, 1, dtype=np.float32),
            jaw=zeros(3),
        )

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, index: int) -> FaceParameters:
        """One face of the batch, still with a batch dimension."""
        return self.map(lambda array: array[index : index + 1] if index >= 0 else array[index:][:1])

    def map(self, function: Any) -> FaceParameters:
        """The same parameters with ``function`` applied to each array."""
        return FaceParameters(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def replace(self, **changes: Array) -> FaceParameters:
        """A copy with some arrays replaced."""
        return replace(self, **changes)

    def to(self, *args: Any, **kwargs: Any) -> FaceParameters:
        """Tensors: as ``Tensor.to`` for each of them."""
        import torch

        return self.map(lambda array: torch.as_tensor(array).to(*args, **kwargs))

    def torch(self) -> FaceParameters:
        """The same as tensors, which share the memory of NumPy arrays."""
        import torch

        return self.map(torch.as_tensor)

    def numpy(self) -> FaceParameters:
        """The same as NumPy arrays, which share the memory of tensors on the CPU."""
        return self.map(np.asarray)
