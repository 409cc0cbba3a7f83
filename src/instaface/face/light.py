"""Second-order spherical-harmonics light.

Real basis in the order 1; x, y, z; xy, xz, yz; x^2 - y^2; 3z^2 - 1, the constants and Lambertian factors folded
into the coefficients: ``shading_c(n) = sum_k L[k, c] B_k(n)``. With that, L[0] is the mean shading over all
directions, and L[1:4] point from the surface to the light. (Ramamoorthi and Hanrahan 2001, equation 12, up to the
scale of each coefficient.)
"""

from __future__ import annotations

from instaface.face.arrays import Array, namespace

N_COEFFICIENTS = 9


def basis(normals: Array) -> Array:
    """(..., 3) unit normals in camera space to (..., 9) basis values."""
    xp = namespace(normals)
    x, y, z = xp.moveaxis(normals, -1, 0)
    return xp.stack([xp.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)


def shade(normals: Array, light: Array) -> Array:
    """Unclamped shading: (B, ..., 3) normals and (B, 9, 3) light to (B, ..., 3) linear RGB."""
    xp = namespace(normals)
    n = normals.reshape(len(normals), -1, 3)
    # The same as basis(normals) @ light, sorted by what the normals are multiplied with: less traffic of memory.
    products, squares = light[:, [4, 6, 5]], xp.stack([light[:, 7], -light[:, 7], 3 * light[:, 8]], 1)
    out = n @ light[:, 1:4] + (n * xp.roll(n, -1, -1)) @ products + (n * n) @ squares
    return (out + (light[:, :1] - light[:, 8:])).reshape(normals.shape)


def directional(direction: Array, strength: Array, ambient: Array) -> Array:
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
    xp = namespace(direction)
    x, y, z = xp.moveaxis(direction, -1, 0)
    q = 15.0 / 32.0
    cosine = xp.stack(
        [
            xp.full_like(x, 0.25),
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
    return xp.stack([out] * 3, -1)


def direction_from_angles(azimuth: Array, elevation: Array) -> Array:
    """(B,) degrees each to (B, 3) unit vectors from the face to the light.

    Azimuth 0 comes from the camera, positive from the right edge of the picture; elevation positive from above.
    """
    xp = namespace(azimuth)
    a, e = xp.deg2rad(azimuth), xp.deg2rad(elevation)
    return xp.stack([xp.cos(e) * xp.sin(a), xp.sin(e), xp.cos(e) * xp.cos(a)], -1)


def rotate(light: Array, rotation: Array) -> Array:
    """Coefficients of the same light once everything around was turned: ``shade(R n, rotate(L, R)) = shade(n, L)``.

    The basis is a polynomial c + b.n + n.Q n, and polynomials turn by b to R b and Q to R Q R^T.

    Args:
        light: (9,) coefficients of one channel.
        rotation: (3, 3).

    Returns:
        (9,)
    """
    xp = namespace(light)
    constant, linear, (xy, xz, yz, difference, pole) = light[:1], light[1:4], light[4:]
    rows = [difference - pole, xy / 2, xz / 2], [xy / 2, -difference - pole, yz / 2], [xz / 2, yz / 2, 2 * pole]
    q = rotation @ xp.stack([xp.stack(row) for row in rows]) @ rotation.swapaxes(0, 1)
    second = xp.stack([2 * q[0, 1], 2 * q[0, 2], 2 * q[1, 2], (q[0, 0] - q[1, 1]) / 2, q[2, 2] / 2])
    return xp.concatenate([constant, rotation @ linear, second])
