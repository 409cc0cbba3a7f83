"""The numbers that describe a face in a photo."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class FaceParameters:
    """Parameters of a batch of B faces, float32. What an edit changes and a :class:`MorphableModel` poses.

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

    identity: Tensor
    expression: Tensor
    head: Tensor
    body: Tensor
    translation: Tensor
    gaze: Tensor
    albedo: Tensor
    light: Tensor
    jaw: Tensor

    @classmethod
    def neutral(cls, identity: int, expression: int, albedo: int, batch: int = 1) -> FaceParameters:
        """A mean face, half a metre in front of the camera, in white ambient light."""
        light = torch.zeros(batch, 9, 3)
        light[:, 0] = 1.0
        return cls(
            identity=torch.zeros(batch, identity),
            expression=torch.zeros(batch, expression),
            head=torch.zeros(batch, 3),
            body=torch.zeros(batch, 3),
            translation=torch.tensor([0.0, -10.0, -60.0]).repeat(batch, 1),
            gaze=torch.zeros(batch, 2, 2),
            albedo=torch.zeros(batch, albedo),
            light=light,
            jaw=torch.zeros(batch, 3),
        )

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, index: int) -> FaceParameters:
        """One face of the batch, still with a batch dimension."""
        return self.map(lambda tensor: tensor[index : index + 1] if index >= 0 else tensor[index:][:1])

    def map(self, function: Any) -> FaceParameters:
        """The same parameters with ``function`` applied to each tensor."""
        return FaceParameters(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def replace(self, **changes: Tensor) -> FaceParameters:
        """A copy with some tensors replaced."""
        return replace(self, **changes)

    def to(self, *args: Any, **kwargs: Any) -> FaceParameters:
        """As ``Tensor.to`` for each tensor."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))
