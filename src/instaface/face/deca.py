"""DECA's numbers, and how they become ours.

Feng, Feng, Black, Bolkart: Learning an animatable detailed 3D face model from in-the-wild images (SIGGRAPH 2021).
DECA describes a face in a square crop by 236 numbers, sees it with a scaled orthographic camera, and shades it in the
photo's own values. Here that becomes :class:`FaceParameters` and a :class:`Camera` so far away that its rays are
parallel; nothing is lost on the way: shape, expression, pose and albedo are the same numbers, light is converted one to
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instaface.face.camera import Camera
from instaface.face.flame import CENTIMETRES, DISPLAY_GAMMA, FLAME, NECK, rotation_from_vector
from instaface.face.light import basis
from instaface.face.parameters import FaceParameters
from instaface.face.rotation import angles_from_rotation

CROP = 224  # pixels of DECA's input
N_CODES = 236
DISTANCE = 10_000.0  # centimetres to the face; at 100 m perspective moves no point by more than 0.2 % of the face
# Constants of DECA's spherical harmonics, in the order of instaface.face.light; the first lacks Lambert's factor pi.
SH_CONSTANTS = (0.282095, *3 * (1.023327,), *3 * (0.858086,), 0.429043, 0.247708)


@dataclass(frozen=True)
class DecaCodes:
    """What DECA's encoder puts out, in its own units.

    Attributes:
        shape: (B, 100) FLAME identity.
        tex: (B, 50) texture.
        exp: (B, 50) FLAME expression.
        pose: (B, 6) axis-angle radians: global rotation, jaw.
        cam: (B, 3) scale, x, y of the orthographic camera.
        light: (B, 9, 3) spherical harmonics x RGB.
    """

    shape: Tensor
    tex: Tensor
    exp: Tensor
    pose: Tensor
    cam: Tensor
    light: Tensor

    @classmethod
    def split(cls, outputs: Tensor) -> DecaCodes:
        """From (B, 236) outputs of the encoder."""
        if outputs.shape[-1] != N_CODES:
            raise ValueError(f"DECA has {N_CODES} outputs, not {outputs.shape[-1]}")
        shape, tex, exp, pose, cam, light = outputs.split([100, 50, 50, 6, 3, 27], -1)
        return cls(shape, tex, exp, pose, cam, light.unflatten(-1, (9, 3)))


@dataclass(frozen=True)
class DecaCrop:
    """The square of a photo that DECA looks at.

    Attributes:
        center: (x, y) in pixels of the photo.
        side: length in pixels.
    """

    center: tuple[float, float]
    side: int

    @classmethod
    def around(cls, landmarks: NDArray[np.float32]) -> DecaCrop:
        """The crop for (68, 2) iBUG landmarks: 1.375 times the mean side of their box, as in training."""
        low, high = landmarks.min(0), landmarks.max(0)
        size = (high - low).sum() / 2
        middle = (low + high) / 2
        return cls((float(middle[0]), float(middle[1])), int(1.375 * float(size)))

    def pixels(self, photo: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) photo to (3, 224, 224) float32 RGB 0..1: bilinear, black outside.

        Pixel 0 is at the crop's corner and pixel 223 at the opposite one (centre coordinates), as in DECA.
        """
        grid = np.arange(CROP) * (self.side / (CROP - 1)) - self.side / 2
        cut = _at(_at(photo, grid + self.center[1], 0), grid + self.center[0], 1)
        return np.ascontiguousarray(cut.transpose(2, 0, 1), np.float32) / 255

    def to_photo(self, projected: Tensor) -> Tensor:
        """(..., 2) of DECA's -1..1 (x right, y down) to pixels of the photo.

        The crop spans 223 units, the projection 224: half a pixel of inconsistency that is DECA's own.
        """
        corner = torch.tensor(self.center) - self.side / 2
        return corner + (projected + 1) * (CROP / 2) * (self.side / (CROP - 1))


def _at(values: NDArray[Any], positions: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Linear interpolation along an axis at fractional indices, 0 outside."""
    below = np.floor(positions).astype(np.int64)
    share = (positions - below).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = -1
    out = np.zeros((), np.float32)
    for index, weight in ((below, 1 - share), (below + 1, share)):
        inside = (index >= 0) & (index < values.shape[axis])
        taken = np.take(values, index.clip(0, values.shape[axis] - 1), axis)
        out = out + taken * (weight * inside).astype(np.float32).reshape(shape)
    return out


def project(vertices: Tensor, cam: Tensor) -> Tensor:
    """DECA's orthographic camera: (B, V, 3) metres and (B, 3) to (B, V, 3): -1..1, x right, y down, small z nearer."""
    moved = vertices + torch.nn.functional.pad(cam[:, 1:], (0, 1))[:, None]
    return cam[:, None, :1] * moved * torch.tensor([1.0, -1.0, -1.0])


def to_parameters(
    codes: DecaCodes, flame: FLAME, crop: DecaCrop, width: int, height: int
) -> tuple[FaceParameters, Camera]:
    """One face's codes as parameters of FLAME and a camera of the whole photo.

    The camera stands 100 m away and looks at the face along parallel rays: angles are relative to those rays.

    Args:
        codes: batch of 1.
        flame: the model.
        crop: where in the photo DECA looked.
        width: of the photo in pixels.
        height: of the photo in pixels.
    """
    head = angles_from_rotation(rotation_from_vector(codes.pose[:, :3]))
    parameters = FaceParameters(
        identity=codes.shape,
        expression=torch.nn.functional.pad(codes.exp, (0, len(flame.expression_names) - codes.exp.shape[1])),
        head=head,
        body=head.clone(),
        translation=torch.zeros(1, 3),
        gaze=torch.zeros(1, 2, 2),
        albedo=codes.tex,
        light=linear_light(codes.light),
        jaw=torch.rad2deg(codes.pose[:, 3:]),
    )
    posed, joints = flame.pose(codes.shape, codes.exp, flame.rotations(parameters))
    middle = (posed.amin(1) + posed.amax(1)) / 2
    center = crop.to_photo(project(middle[:, None], codes.cam)[..., :2])[0, 0]
    scale = float(codes.cam[0, 0]) * (CROP / 2) * crop.side / (CROP - 1) / CENTIMETRES  # pixels per centimetre
    neck = CENTIMETRES * (joints[:, NECK] - middle) - torch.tensor([0.0, 0.0, DISTANCE])
    camera = Camera(scale * DISTANCE, (float(center[0]), float(center[1])), width, height)
    return parameters.replace(translation=neck), camera


# --- light ---


def linear_light(light: Tensor) -> Tensor:
    """DECA's light to ours: (B, 9, 3) to (B, 9, 3) of :mod:`instaface.face.light`.

    DECA's picture, albedo times shading, is in the photo's own values v = linear ** (1 / 2.2); to the power of 2.2 the
    product stays a product. The shading's power is projected back on the nine harmonics, by least squares over all
    directions, those to the viewer with more weight. Negative shading keeps its sign.
    """
    values, weights = _directions()
    shading = values @ (light.double() * torch.tensor(SH_CONSTANTS, dtype=torch.float64)[:, None])
    powered = shading.sign() * shading.abs() ** DISPLAY_GAMMA
    weighted = values * weights[:, None]
    return torch.linalg.solve(values.T @ weighted, weighted.T @ powered).to(light.dtype)


def display_light(light: Tensor, steps: int = 100) -> Tensor:
    """Inverse of :func:`linear_light`: our light to DECA's, (B, 9, 3) each.

    The conversion is the gradient of a convex function of nine numbers (the shading's power rises with the shading), so
    it can be undone: Newton's method with step halving.
    """
    values, weights = _directions()
    weighted = values * weights[:, None]
    shape = light.shape
    linear = light.double().movedim(1, -1).reshape(-1, 9)  # one row a face and channel
    target = linear @ (weighted.T @ values)

    def residual(d: Tensor) -> Tensor:
        shading = d @ values.T
        return (shading.sign() * shading.abs() ** DISPLAY_GAMMA) @ weighted - target

    wanted = linear @ values.T
    start = wanted.sign() * wanted.abs() ** (1 / DISPLAY_GAMMA)
    found = torch.linalg.solve(values.T @ weighted, (start @ weighted).T).T
    error = residual(found)
    for _ in range(steps):
        slope = DISPLAY_GAMMA * (found @ values.T).abs().clamp(min=1e-4) ** (DISPLAY_GAMMA - 1)
        hessian = torch.einsum("ni,bn,nj->bij", weighted, slope, values)
        step = torch.linalg.solve(hessian, error[..., None])[..., 0]
        length = torch.ones(len(found), 1, dtype=torch.float64)
        for _ in range(20):
            worse = residual(found - length * step).norm(dim=1) > error.norm(dim=1)
            length = torch.where(worse[:, None], length / 2, length)
        found = found - length * step
        error = residual(found)
        if float(error.abs().max()) < 1e-9 * float(target.abs().max()) + 1e-12:
            break
    codes = found.reshape(shape[0], shape[2], 9).movedim(-1, 1)
    return (codes / torch.tensor(SH_CONSTANTS, dtype=torch.float64)[:, None]).to(light.dtype)


@cache
def _directions() -> tuple[Tensor, Tensor]:
    """Harmonics (N, 9) of N directions spread evenly over the sphere (a Fibonacci spiral), and their weights (N,)."""
    k = torch.arange(600, dtype=torch.float64)
    z = 1 - (2 * k + 1) / len(k)
    turn = k * np.pi * (3 - 5**0.5)
    around = torch.sqrt(1 - z * z)
    normals = torch.stack([around * turn.cos(), around * turn.sin(), z], -1)
    return basis(normals), torch.where(z > 0, 1.0, 0.1).double()
