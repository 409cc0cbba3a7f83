"""Scenes whose pictures are known in closed form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from instaface.face import Camera, FaceParameters, MorphableModel
from instaface.photo import Photo
from instaface.track import Frame, Matte, TrackedFace


def sphere_mesh(rings: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere: (V, 3) float32 vertices with y up, and (F, 3) faces, anticlockwise seen from outside."""
    latitude = np.linspace(0, np.pi, rings + 1)[:, None]
    longitude = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    x, z = np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude)
    y = np.broadcast_to(np.cos(latitude), x.shape)
    index = np.arange(x.size).reshape(x.shape)
    right = np.roll(index, -1, 1)
    a, b, c, d = index[:-1], right[:-1], index[1:], right[1:]
    faces = np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, c, b), (b, c, d))])
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), faces


class Sphere(MorphableModel):
    """A sphere of a given radius about ``translation``, one half red and the other blue."""

    name = "sphere"
    expression_names = ()
    n_identity = 0
    n_albedo = 0

    def __init__(self, radius: float = 8.0, rings: int = 66) -> None:
        vertices, faces = sphere_mesh(rings)
        self.radius = radius
        self.unit = torch.from_numpy(vertices)
        self.faces = torch.from_numpy(faces).long()
        self.uv = self.unit[:, :2] / 2 + 0.5
        self.uv_faces = self.faces
        left = self.unit[:, 0] < 0
        self.regions = {
            "ball": torch.arange(len(vertices)),
            "left": left.nonzero()[:, 0],
            "right": (~left).nonzero()[:, 0],
        }
        self.head_weight = torch.ones(len(vertices))

    def vertices(self, parameters: FaceParameters) -> Tensor:
        return parameters.translation[:, None] + self.radius * self.unit

    def landmarks(self, vertices: Tensor, scheme: str) -> Tensor:
        raise ValueError(scheme)

    def albedo(self, coefficients: Tensor) -> Tensor:
        texture = torch.full((len(coefficients), 3, 64, 64), 0.1)
        texture[:, 0, :, :32] = 0.8
        texture[:, 2, :, 32:] = 0.6
        return texture


def tracked_face(
    pixels: np.ndarray, parameters: FaceParameters, camera: Camera, person: np.ndarray, hair: np.ndarray | None = None
) -> TrackedFace:
    """A face whose photo is its own frame, as if tracked: with its true parameters and matte, without clothes."""
    height, width = person.shape
    nothing = np.zeros((height, width), np.float32)
    return TrackedFace(
        photo=Photo(pixels),
        index=0,
        box=(0, 0, width, height),
        score=1.0,
        landmarks=np.zeros((478, 2), np.float32),
        parameters=parameters,
        camera=camera,
        frame=Frame(0, 0, width, height),
        matte=Matte(person.astype(np.float32), nothing if hair is None else hair.astype(np.float32), nothing),
        fit_error=0.0,
    )
