"""Light and albedo of a fitted face, from the pixels of its skin.

A pixel is albedo times shading, and shading is linear in the nine spherical-harmonics coefficients (Ramamoorthi and
Hanrahan 2001), albedo linear in its coefficients: a bilinear least squares with a prior on either, in which the pixels
that fit badly (cast shadows, highlights, beards, hair) lose their say.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera, FaceParameters
from instaface.face.colour import linear_from_pixels
from instaface.face.light import N_COEFFICIENTS, basis, direction_from_angles, directional
from instaface.track.threads import one_thread

if TYPE_CHECKING:
    from instaface.face import OpenHead

SIZE = 72  # pixels: longest side at which the face's pixels are compared
TEXTURE = 128  # texels: side of the albedo texture at that size
ROUNDS = 6
NOISE = 0.06  # of a pixel, relative to the face's mean
ROBUST = 2.0  # residuals beyond this many times the noise lose their say
ROUGH = 0.3  # share that pixels of lips, brows and lids count
CORRELATION = 60.0  # neighbouring pixels are not independent: this many count as one
AMBIENT = 0.8  # shading of a face as photographed, averaged over its skin, where the albedo model tells skin tone
AMBIENT_SPREAD = 0.05  # of its logarithm
CONSTANT_SPREAD = 0.05  # of what comes from everywhere, over the mean shading: frontal light and it look much alike
COLOUR_SPREAD = 0.08  # of the light's channels about their mean
REST = 0.05  # of each light coefficient beyond what a lamp and ambient light explain, over the mean shading

Floats = NDArray[np.float64]


def fit_light(
    model: OpenHead, parameters: FaceParameters, camera: Camera, pixels: NDArray[np.uint8], free: NDArray[np.float32]
) -> FaceParameters:
    """Light and albedo coefficients of one face.

    Args:
        model: that ``parameters`` belong to.
        parameters: fitted shape and pose, batch of 1.
        camera: of ``pixels``.
        pixels: (H, W, 3) uint8 sRGB around the face.
        free: (H, W) float32 0..1, 1 where nothing (hair, hands) covers the skin.

    Returns:
        ``parameters`` with ``light`` and ``albedo`` replaced; as they were where no skin is seen.
    """
    skin = _skin(model, parameters, camera, pixels, free)
    if skin is None or skin.plain.sum() < 50:
        return parameters
    with one_thread():
        light, albedo = solve(skin.normals, skin.colours, skin.mean, skin.change, skin.plain)
    return parameters.replace(light=light.astype(np.float32)[None], albedo=albedo.astype(np.float32)[None])


def solve(
    normals: Floats, colours: Floats, mean: Floats, change: Floats, plain: NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats]:
    """Light (9, 3) and albedo coefficients (A,) of skin pixels, by Gauss-Newton from white ambient light.

    Args:
        normals: (N, 3) unit, camera space.
        colours: (N, 3) linear RGB.
        mean: (N, 3) albedo of the mean face.
        change: (A, N, 3) by one standard deviation.
        plain: (N,) pixels of plain skin, all by default; the others (lips, brows, lids) count less.
    """
    harmonics = basis(normals)
    plain = np.ones(len(normals), bool) if plain is None else plain
    # Without an albedo model, skin tone and light cannot be told apart: the light takes both.
    level = AMBIENT if len(change) else float(colours.mean() / mean.mean())
    prior, target = _light_prior(harmonics[plain].mean(0), level, len(change))
    light, albedo = np.zeros((N_COEFFICIENTS, 3)), _first_tone(colours[plain], mean[plain], change[:, plain], level)
    light[0] = level
    variance = (NOISE * colours.mean()) ** 2
    of_albedo = np.ascontiguousarray(change.transpose(2, 0, 1), np.float32)  # (3, A, N); single precision for speed
    of_light = harmonics.T.astype(np.float32)
    trust = np.where(plain, 1.0, ROUGH) / (variance * CORRELATION)
    ends = slice(27, None)
    for _ in range(ROUNDS):
        tones, shading = mean + (albedo.astype(np.float32) @ of_albedo).T, harmonics @ light
        errors = colours - tones * shading
        squares = (errors**2).sum(1) / (3 * variance)
        noise = max(
            1.0, float(np.median(squares))
        )  # of this face, over the usual; what is off as a whole is no outlier
        squares /= noise
        weights = trust / noise / (1 + squares / ROBUST**2) ** 2  # Geman-McClure
        root = np.sqrt(weights).astype(np.float32)
        gram, right = prior.copy(), target - prior @ np.concatenate([light.T.ravel(), albedo])
        for channel in range(3):
            own = slice(9 * channel, 9 * channel + 9)
            by_light = of_light * (tones[:, channel] * root).astype(np.float32)
            by_albedo = of_albedo[channel] * (shading[:, channel] * root).astype(np.float32)
            scaled = (errors[:, channel] * root).astype(np.float32)
            gram[own, own] += by_light @ by_light.T
            gram[own, ends] += by_light @ by_albedo.T
            gram[ends, ends] += by_albedo @ by_albedo.T
            right[own] += by_light @ scaled
            right[ends] += by_albedo @ scaled
        gram[ends, :27] = gram[:27, ends].T
        step = np.linalg.solve(gram, right)
        light = light + step[:27].reshape(3, 9).T
        albedo = np.clip(albedo + step[27:], -3, 3)
        if np.abs(step).max() < 0.01:
            break
    return light, albedo


def _first_tone(colours: Floats, mean: Floats, change: Floats, level: float) -> Floats:
    """(A,) coefficients of the most likely face whose mean colour is that of the pixels, in white light."""
    wanted, tone, turns = colours.mean(0) / level, mean.mean(0), change.mean(1)
    turns, gap = turns / (NOISE * wanted), (wanted - tone) / (NOISE * wanted)
    return turns @ np.linalg.solve(turns.T @ turns + np.eye(3), gap)


def _light_prior(mean_row: Floats, level: float, n_albedo: int) -> tuple[Floats, Floats]:
    """Precision (27 + A, 27 + A) of light, channel by channel, and albedo, and precision times mean."""
    size = 27 + n_albedo
    prior, target = np.zeros((size, size)), np.zeros(size)
    usual, precision = usual_light()
    for channel in range(3):
        own = slice(9 * channel, 9 * channel + 9)
        prior[own, own] = precision / level**2
        target[own] = precision @ usual / level
    prior[27:, 27:] = np.eye(n_albedo)
    if n_albedo:  # the mean shading of the three channels is near the level, and each near their mean
        rows = np.zeros((3, size))
        for channel in range(3):
            rows[channel, 9 * channel : 9 * channel + 9] = mean_row
        whole, apart = rows.mean(0), rows - rows.mean(0)
        constant = np.zeros(size)
        constant[[0, 9, 18]] = 1 / 3
        prior += np.outer(constant, constant) / (CONSTANT_SPREAD * level) ** 2
        target += constant * usual[0] / (CONSTANT_SPREAD**2 * level)
        prior += np.outer(whole, whole) / (AMBIENT_SPREAD * level) ** 2
        prior += apart.T @ apart / (COLOUR_SPREAD * level) ** 2
        target += whole * level / (AMBIENT_SPREAD * level) ** 2
    return prior, target


@functools.cache
def usual_light() -> tuple[Floats, Floats]:
    """Mean (9,) and precision (9, 9) of light on faces over its mean shading: one or two lamps and ambient light.

    Lamps stand in front of the face, rather above than below. The precision says nothing about the overall scale.
    """
    rng = np.random.default_rng(0)
    count = 4000
    lights = np.zeros((count, N_COEFFICIENTS))
    for most in (1.0, 0.6):
        strength = rng.uniform(0, most, count)
        azimuth, elevation = rng.normal(0, 45, count), rng.normal(15, 25, count)
        lamp = directional(direction_from_angles(azimuth, elevation), strength, np.zeros(count))
        lights += lamp[..., 0]
    lights[:, 0] += rng.uniform(0.1, 0.9, count)
    seen = rng.normal((0, 0, 1), 0.5, (500, 3))  # normals of a face
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    lights /= (lights @ basis(seen).mean(0))[:, None]
    usual = lights.mean(0)
    covariance = np.cov(lights.T) + REST**2 * np.eye(N_COEFFICIENTS) + 1e2 * np.outer(usual, usual)
    return usual, np.linalg.inv(covariance)


@dataclass(frozen=True)
class _Skin:
    """What :func:`solve` takes."""

    normals: Floats
    colours: Floats
    mean: Floats
    change: Floats
    plain: NDArray[np.bool_]


@functools.cache
def _skin_regions(model: OpenHead) -> NDArray[np.float32]:
    """(V, 2) 1 on the face's skin, and 1 on it without brows, lids and lips."""
    out = np.zeros((len(model.head_weight), 2), np.float32)
    out[np.asarray(model.regions["face"])] = 1
    for region in ("brows", "eyelids", "lips"):
        out[np.asarray(model.regions[region]), 1] = 0
    return out


@functools.cache
def albedo_parts(model: OpenHead) -> NDArray[np.float32]:
    """(S, S, 1 + A, 3) mean albedo and its change by each coefficient, S about TEXTURE, row 0 at v = 1."""
    parts = np.concatenate([np.asarray(model.albedo_mean)[None], np.asarray(model.albedo_basis)])
    texels = max(1, parts.shape[-1] // TEXTURE)
    side = parts.shape[-1] // texels
    small = parts.reshape(-1, 3, side, texels, side, texels).mean((3, 5))
    return np.ascontiguousarray(small.transpose(2, 3, 0, 1))


def _skin(
    model: OpenHead, parameters: FaceParameters, camera: Camera, pixels: NDArray[np.uint8], free: NDArray[np.float32]
) -> _Skin | None:
    """A few thousand pixels of skin that look towards the camera; None where there are none."""
    import cv2

    from instaface.render import interpolate, rasterise

    height, width = pixels.shape[:2]
    mesh = model.mesh(parameters)
    points = camera.project(np.asarray(mesh.vertices[0]))
    # 1. The part of the picture with the face, shrunk.
    face = points[np.asarray(model.regions["face"]), :2]
    x0, y0 = np.maximum(np.floor(face.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(face.max(0)).astype(int), (width, height))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    scale = min(1.0, SIZE / max(x1 - x0, y1 - y0))
    size = (max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale)))
    part = linear_from_pixels(cv2.resize(pixels[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA))
    uncovered = cv2.resize(free[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    points = points.copy()
    points[:, :2] = (points[:, :2] - (x0, y0)) * (size[0] / (x1 - x0), size[1] / (y1 - y0))
    # 2. Skin that is seen well.
    faces = np.asarray(model.faces).astype(np.int32)
    raster = rasterise(points, faces, size[1], size[0])
    seen = interpolate(raster, faces, np.concatenate([np.asarray(mesh.normals()[0]), _skin_regions(model)], 1))
    uv = interpolate(raster, np.asarray(model.uv_faces).astype(np.int32), np.asarray(model.uv))
    normals = seen[..., :3]
    use = raster.covered & (seen[..., 3] > 0.99) & (uncovered > 0.9) & (normals[..., 2] > 0.25)
    brightest = cv2.max(cv2.max(part[..., 0], part[..., 1]), part[..., 2])
    use &= (brightest < 0.97) & (brightest > 0.002)
    if not use.any():
        return None
    # 3. Albedo there.
    texture = albedo_parts(model)
    column, row = ((uv[use] * [1, -1] + [0, 1]) * len(texture)).astype(int).clip(0, len(texture) - 1).T
    albedo = texture[row, column].astype(np.float64)  # (N, 1 + A, 3)
    return _Skin(
        normals=(normals[use] / np.linalg.norm(normals[use], axis=-1, keepdims=True).clip(1e-6)).astype(np.float64),
        colours=part[use].astype(np.float64),
        mean=albedo[:, 0],
        change=albedo[:, 1:].transpose(1, 0, 2),
        plain=seen[use][:, 4] > 0.99,
    )
