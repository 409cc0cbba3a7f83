"""Second-order spherical-harmonics light.

Real basis in the order 1; x, y, z; xy, xz, yz; x^2 - y^2; 3z^2 - 1, the constants and Lambertian factors folded
into the coefficients: ``shading_c(n) = sum_k L[k, c] B_k(n)``. With that, L[0] is the mean shading over all
directions, and L[1:4] point from the surface to the light. (Ramamoorthi and Hanrahan 2001, equation 12, up to the
scale of each coefficient.)
"""

from __future__ import annotations

import torch
from torch import Tensor

N_COEFFICIENTS = 9


def basis(normals: Tensor) -> Tensor:
    """(..., 3) unit normals in camera space to (..., 9) basis values."""
    x, y, z = normals.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)


def shade(normals: Tensor, light: Tensor) -> Tensor:
    """Unclamped shading: (B, ..., 3) normals and (B, 9, 3) light to (B, ..., 3) linear RGB."""
    n = normals.flatten(1, -2)
    # The same as basis(normals) @ light, sorted by what the normals are multiplied with: less traffic of memory.
    products, squares = light[:, [4, 6, 5]], torch.stack([light[:, 7], -light[:, 7], 3 * light[:, 8]], 1)
    out = torch.baddbmm(light[:, :1] - light[:, 8:], n, light[:, 1:4])
    out = out.baddbmm(n * n.roll(-1, -1), products).baddbmm(n * n, squares)
    return out.reshape(normals.shape)


def directional(direction: Tensor, strength: Tensor, ambient: Tensor) -> Tensor:
    """Light of a distant source plus ambient light, both white.

    The clamped cosine max(0, n.d) projected on the basis: 1/4 + n.d / 2 + 5/32 (3 (n.d)^2 - 1), from
    Ramamoorthi and Hanrahan 2001, equation 8 (A_0 = pi, A_1 = 2 pi / 3, A_2 = pi / 4).

    Args:
        direction: (B, 3) unit vectors from the face to the light, camera space.
        strength: (B,) shading of a surface that faces the light, ambient share excluded.
        ambient: (B,) shading that comes from everywhere.

    Returns:
        (B, 9, 3) coefficients.
    """
    x, y, z = direction.unbind(-1)
    q = 15.0 / 32.0
    cosine = torch.stack(
        [
            torch.full_like(x, 0.25),
            x / 2,
            y / 2,
            z / 2,
            2 * q * x * y,
            2 * q * x * z,
            2 * q * y * z,
            q * (x * x - y * y) / 2,
            q * (3 * z * z - 1) / 6,
        ],
        -1,
    )
    out = strength[:, None] * cosine
    out[:, 0] += ambient
    return out[..., None].expand(-1, -1, 3).clone()


def direction_from_angles(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """(B,) degrees each to (B, 3) unit vectors from the face to the light.

    Azimuth 0 comes from the camera, positive from the right edge of the picture; elevation positive from above.
    """
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    return torch.stack([e.cos() * a.sin(), e.sin(), e.cos() * a.cos()], -1)


def rotate(light: Tensor, rotation: Tensor) -> Tensor:
    """Coefficients of the same light once everything around was turned: ``shade(R n, rotate(L, R)) = shade(n, L)``.

    The basis is a polynomial c + b.n + n.Q n, and polynomials turn by b to R b and Q to R Q R^T.

    Args:
        light: (9,) coefficients of one channel.
        rotation: (3, 3).

    Returns:
        (9,)
    """
    constant, linear, (xy, xz, yz, difference, pole) = light[:1], light[1:4], light[4:]
    quadratic = torch.stack([difference - pole, xy / 2, xz / 2, xy / 2, -difference - pole, yz / 2])
    quadratic = torch.cat([quadratic, torch.stack([xz / 2, yz / 2, 2 * pole])]).reshape(3, 3)
    q = rotation @ quadratic @ rotation.mT
    second = torch.stack([2 * q[0, 1], 2 * q[0, 2], 2 * q[1, 2], (q[0, 0] - q[1, 1]) / 2, q[2, 2] / 2])
    return torch.cat([constant, rotation @ linear, second])
