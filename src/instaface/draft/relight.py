"""New light on a photo: what its pixels are multiplied by.

A pixel of skin is albedo x shading x mark. Albedo stays; shading is the face model's, in the old and in the new light;
the mark is what the old light did and the shading does not explain: shadows that hair, hat or nose cast, and
highlights. Marks belong to the old light. As far as the new light differs, they fade to the skin underneath.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from instaface.draft.fill import push_pull, smoothstep
from instaface.draft.kernels import relight_rows
from instaface.draft.texture import unwrap
from instaface.face import Camera, FaceParameters, MorphableModel
from instaface.face.colour import linear_from_srgb
from instaface.face.light import shade
from instaface.render.maps import albedo_picture
from instaface.render.occlusion import unshadowed
from instaface.render.rasterise import in_bands, interpolate, rasterise
from instaface.track import TrackedFace

Array = NDArray[np.float32]


MOST = 1 / 16, 3.5  # times a pixel's light at most; dark pixels are noise where they are made bright
KNEE = 0.6  # share of the way there (of the logarithm) from which on changes are held back, so as to end softly
DIMMEST = 0.08  # of the mean shading: where less light falls there is nothing to scale
TINT = 0.3  # share of the old light's changes of colour over the face that is believed


def shading(normals: Array, light: ArrayLike, shadow: Array | float = 1.0) -> Array:
    """(N, 3) light on surfaces, with an even colour and never close to nothing.

    Args:
        normals: (N, 3) unit, camera space.
        light: (1, 9, 3) coefficients.
        shadow: (N, 1) share of the light that is left where the head shades itself.
    """
    light, mean = np.asarray(light), facing_colour(light)
    even = (TINT * np.eye(3) + (1 - TINT) / 3).astype(np.float32)  # of colours over their mean
    even_light = light / mean @ even  # shading is linear in the light
    lit = shade(np.asarray(normals, np.float32)[None], even_light)[0] * shadow
    return mean * (np.float32(DIMMEST) + _softplus(lit - np.float32(DIMMEST), np.float32(0.5 * DIMMEST)))


def facing_colour(light: ArrayLike) -> Array:
    """(3,) mean shading of surfaces that face the camera, weighted by the cosine of their slope.

    Its colour is what a photo's skin shows of a light; the mean over all directions, which counts what comes from
    behind, may have quite another one.
    """
    own = np.asarray(light)[0]
    facing = own[0] + 2 / 3 * own[3] + 1 / 2 * own[8]
    return np.maximum(facing, 0.3 * own[0]).clip(1e-3)


def _softplus(x: Array, width: np.float32) -> Array:
    """``max(x, 0)`` without a kink, which shows as a line across a face."""
    return np.maximum(x, 0) + width * np.log(1 + np.exp(-np.abs(x) / width))


def bounded(log: Array) -> Array:
    """Natural logarithms of ratios to ratios within ``MOST``; untouched up to ``KNEE`` of the way there."""
    end = np.where(log < 0, *np.log(MOST).astype(np.float32))
    way, rest = log / end, np.float32(1 - KNEE)
    over = np.maximum(way - np.float32(KNEE), 0)
    return np.exp(end * (np.minimum(way, np.float32(KNEE)) + rest * np.tanh(over / rest)))


def head_shadow(model: MorphableModel, parameters: FaceParameters) -> Array:
    """(V, 1) share of the light that the head itself lets through to each vertex."""
    return unshadowed(model, parameters, parameters.light[0])[:, None]


DIFFERENT = 0.3  # change of a light's direction, over its mean, from which on it is another light


def light_change(before: ArrayLike, after: ArrayLike) -> float:
    """0 for the same light, also brighter or darker, to 1 for one from elsewhere, harder or softer; (1, 9, 3) each."""
    lights = (np.asarray(light)[0] for light in (before, after))
    one, other = (light[1:4].mean(-1) / light[0].mean().clip(1e-3) for light in lights)
    return float(smoothstep(np.array(np.linalg.norm(one - other), np.float32), 0.0, DIFFERENT))


def relight(colour: Array, ratio: Array) -> Array:
    """Multiplies (H, W, 3) sRGB values 0..255 by a ratio in linear RGB; what gets bright approaches white."""
    colour, ratio = (np.ascontiguousarray(part, np.float32) for part in (colour, ratio))
    out = np.empty_like(colour)
    in_bands(relight_rows, len(colour), None, colour, ratio, out)
    return out


def surface_ratio(log: Array, anchor: NDArray[np.int64], follow: Array, shape: tuple[int, int]) -> Array:
    """Ratios of all surfaces: those of the shell go over into those of the face model where it borders on that.

    Args:
        log: (V + 2 N, 3) natural logarithm of new over old shading: of the face model, the shell's front and back.
        anchor: (N,) vertex of the face model next to a point of the shell.
        follow: (N,) share 0..1 of the anchor in it.
        shape: (h, w) of the shell's grid, N = h w.

    Returns:
        (V + 2 N, 3) float32, within ``MOST``.
    """
    log, near = log.copy(), log[anchor]
    for half in np.split(log[-2 * len(anchor) :], 2):
        mixed = half + follow[:, None] * (near - half)
        half[:] = cv2.GaussianBlur(mixed.reshape(*shape, 3), (0, 0), 2.0).reshape(-1, 3)
    return bounded(log)


FRAMED = {"teeth": "lips", "gums": "lips", "tongue": "lips", "mouth": "lips", "eyes": "eyelids"}  # and by what
WIDE = 200  # vertices of what is around that are near a framed part
AROUND = 40  # of them from which it takes its light


def framed(model: MorphableModel, log: Array) -> Array:
    """(V, 3) logarithms of ratios, in which teeth and eyes take the light of lips and lids around them.

    By their own normals each tooth would be lit for itself, though the model's teeth are not the person's.
    """
    return _frames(model) @ log


@functools.lru_cache(maxsize=2)
def _frames(model: MorphableModel) -> sparse.csr_matrix:
    """(V, V) float32 means over the ``AROUND`` vertices of what frames a vertex, above and below, that are nearest
    across the face; 1 at those that are free."""
    from scipy.spatial import cKDTree

    across, regions = np.asarray(model.vertices(model.neutral())[0, :, :1]), model.regions
    sources = np.repeat(np.arange(len(across))[:, None], AROUND, 1)
    for inner, outer in FRAMED.items():
        if inner in regions and len(regions.get(outer, ())) >= AROUND:
            inside, around = np.asarray(regions[inner]), np.asarray(regions[outer])
            nearest = cKDTree(across[around]).query(across[inside], min(WIDE, len(around)))[1]
            sources[inside] = around[nearest[:, np.linspace(0, nearest.shape[1] - 1, AROUND).astype(int)]]
    rows = np.repeat(np.arange(len(across)), AROUND)
    weights = np.full(sources.size, 1 / AROUND, np.float32)
    return sparse.csr_matrix((weights, (rows, sources.ravel())), shape=(len(across),) * 2)


def continued(log: Array, known: Array) -> Array:
    """Ratios, continued from where they are known over neck and clothes: even, and somewhat weaker.

    Args:
        log: (H, W, 3) float32 natural logarithms of ratios, 0 where they are not known.
        known: (H, W) float32, 1 where they are known, else 0.

    Returns:
        (H, W, 3) float32 ratios.
    """
    height, width = known.shape
    step = max(1.0, SPREAD * max(known.shape) / 3)  # what is so even is found on a coarse grid
    size = max(2, round(width / step)), max(2, round(height / step))
    log, near = (
        cv2.GaussianBlur(cv2.resize(part, size, interpolation=cv2.INTER_AREA), (0, 0), 3) for part in (log, known)
    )
    log = push_pull(log / np.maximum(near, 1e-4)[..., None], smoothstep(near, 0.0, 0.2))
    even = np.exp(CLOTHES * cv2.GaussianBlur(log, (0, 0), 3)).astype(np.float32)
    return cv2.resize(even, (width, height), interpolation=cv2.INTER_CUBIC)


SPREAD = 0.03  # of the picture's longer side: how even light on neck and clothes is
CLOTHES = 0.8  # of the logarithm of the face's ratio


SIDE = 160  # pixels: longest side of the face at which marks are looked for
PLAIN_NOT = ("brows", "eyelids", "lips", "eyes", "mouth", "gums", "teeth", "tongue")  # parts that are not plain skin
NEAR, TINT_SIZE, WINDOW = 0.05, 0.015, 0.04  # of ``SIDE``: what is around a pixel, around its colour, a filter's window
DARK_DETAIL = 0.3  # natural log: hair, nostrils and creases are so much darker than what is around them
EDGE = 0.12  # natural log: steps larger than this are borders of shadows, smaller ones the skin's own texture
NOTICED = 0.12, 0.3  # natural log: from what no mark is to what certainly is one
UNLIKELY = 0.8, 1.3  # natural log: range of the middle half of the skin, from which on no mark is believed
DEEPEST, BRIGHTEST = -1.2, 0.9  # natural log: marks are not stronger
COLOURED = 0.1, 0.6  # natural log by which a mark's channels differ from their mean at most: of all, and of highlights


def find_marks(
    model: MorphableModel, parameters: FaceParameters, camera: Camera, mesh: Array, photo: Array, bare: Array
) -> Array:
    """Cast shadows and highlights of a photo's skin.

    Args:
        model: the face model.
        parameters: of the tracked face, batch of 1.
        camera: of ``photo``.
        mesh: (V, 6) float32 vertices and normals of the tracked face, camera space.
        photo: (H, W, 3) float32 0..255.
        bare: (H, W) float32 0..1, where nothing (hair, clothes) covers the skin.

    Returns:
        (H, W, 3) float32 natural logarithm of what the photo shows over what its skin shows in the fitted light: below
        0 in cast shadows, above 0 in highlights, 0 elsewhere and wherever it cannot be told.
    """
    height, width = bare.shape
    marks = np.zeros((height, width, 3), np.float32)
    if "face" not in model.regions:
        return marks
    # 1. The part of the picture with the face, shrunk.
    points = camera.project(mesh[:, :3])
    face = points[np.asarray(model.regions["face"]), :2]
    x0, y0 = np.maximum(np.floor(face.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(face.max(0)).astype(int), (width, height))
    if x1 - x0 < 16 or y1 - y0 < 16:
        return marks
    window, scale = (slice(y0, y1), slice(x0, x1)), min(1.0, SIDE / max(x1 - x0, y1 - y0))
    size = (round((x1 - x0) * scale), round((y1 - y0) * scale))
    points[:, :2] = (points[:, :2] - (x0, y0)) * (size[0] / (x1 - x0), size[1] / (y1 - y0))
    seen, free = (cv2.resize(part[window], size, interpolation=cv2.INTER_AREA) for part in (photo, bare))
    # 2. What its skin would look like there, and how far the photo is from that.
    raster = rasterise(points, np.asarray(model.faces), size[1], size[0])
    lit = shading(mesh[:, 3:], parameters.light, head_shadow(model, parameters))
    values = np.concatenate([lit, _skin(model, mesh), _lower(model)[:, None]], 1).astype(np.float32)
    values = interpolate(raster, np.asarray(model.faces), values)
    uv = interpolate(raster, np.asarray(model.uv_faces), np.asarray(model.uv))
    albedo = _texels(albedo_picture(model, parameters), uv)
    away = np.log(linear_from_srgb(seen / 255) + BLACK) - np.log(albedo * values[..., :3] + BLACK)
    trust = (raster.covered * smoothstep(free, 0.8, 1.0) * values[..., 3]).astype(np.float32)
    # 3. Its large and smooth parts, but for the borders of shadows.
    grey = away.mean(-1)
    trust = trust * (1 - smoothstep(_around(grey, trust) - grey, 0.5 * DARK_DETAIL, DARK_DETAIL))
    mark = _smooth_parts(push_pull(grey, trust))
    tint = _around(away - grey[..., None], trust, TINT_SIZE)
    # 4. Beards are dark on both sides, shadows seldom: below the nose only what the other half does not show counts.
    other = _other_half(model, mark, trust, uv, points)
    mark = np.where(mark < 0, mark - values[..., 4] * np.maximum(mark, other), mark)
    # 5. What is certain, within bounds; nothing where the skin is nowhere as expected, such as hair taken for skin.
    low, high = np.quantile(grey[trust > 0.5], (0.25, 0.75)) if (trust > 0.5).any() else (0, 0)
    certain = smoothstep(np.abs(mark), *NOTICED) * cv2.GaussianBlur(values[..., 3] * raster.covered, (0, 0), 2)
    certain *= 1 - smoothstep(np.array(high - low, np.float32), *UNLIKELY)
    most = (
        COLOURED[0] + COLOURED[1] * np.maximum(mark, 0)[..., None]
    )  # highlights have the lamp's colour, not the skin's
    mark = certain[..., None] * (mark.clip(DEEPEST, BRIGHTEST)[..., None] + tint.clip(-most, most))
    whole = cv2.resize(mark, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    marks[window] = whole * bare[window][..., None]
    return marks


def marks_of(face: TrackedFace, model: MorphableModel) -> Array:
    """:func:`find_marks` over the frame of a tracked face: (H, W, 3) float32."""
    work, size = face.working, (face.frame.width, face.frame.height)
    posed = model.mesh(face.parameters)
    mesh = np.concatenate([np.asarray(part[0]) for part in (posed.vertices, posed.normals())], 1)
    bare = (work.matte.person - work.matte.hair - work.matte.clothes).clip(0, 1)
    marks = find_marks(model, face.parameters, work.frame_camera, mesh, work.frame_pixels.astype(np.float32), bare)
    return marks if work is face else cv2.resize(marks, size, interpolation=cv2.INTER_LINEAR)


def _texels(texture: Array, uv: Array) -> Array:
    """(H, W, 3) values of an (S, S, 3) texture, row 0 at v = 1, at (H, W, 2) texture coordinates."""
    across, down = len(texture) * uv[..., 0] - 0.5, len(texture) * (1 - uv[..., 1]) - 0.5
    return cv2.remap(texture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


BLACK = 0.004  # linear: below this the logarithm says nothing


def _around(values: Array, weight: Array, size: float = NEAR) -> Array:
    """Weighted means of what is around each pixel; continued smoothly where nothing is."""
    stack = np.dstack([values * (weight if values.ndim == 2 else weight[..., None]), weight])
    stack = cv2.GaussianBlur(stack.astype(np.float32), (0, 0), size * SIDE)
    near = stack[..., -1]
    means = push_pull(stack[..., :-1] / np.maximum(near, 1e-4)[..., None], smoothstep(near, 0.02, 0.1))
    return means[..., 0] if values.ndim == 2 else means


def _smooth_parts(values: Array) -> Array:
    """The guided filter with the picture as its own guide (He, Sun and Tang 2010, section 3.4)."""
    side = (2 * int(WINDOW * SIDE / 2) + 1,) * 2
    mean = cv2.blur(values, side)
    variance = np.maximum(cv2.blur(values * values, side) - mean * mean, 0)
    a = variance / (variance + EDGE**2)
    return cv2.blur(a, side) * values + cv2.blur((1 - a) * mean, side)


def _skin(model: MorphableModel, mesh: Array) -> Array:
    """(V, 1) 1 on plain skin that faces the camera."""
    plain = np.zeros(len(mesh), np.float32)
    plain[np.asarray(model.regions["face"])] = 1
    for region in PLAIN_NOT:
        if region in model.regions:
            plain[np.asarray(model.regions[region])] = 0
    facing = -(mesh[:, :3] * mesh[:, 3:]).sum(-1) / np.linalg.norm(mesh[:, :3], axis=-1)
    return (plain * smoothstep(facing, 0.15, 0.4))[:, None]


def _lower(model: MorphableModel) -> Array:
    """(V,) 0 above the nose's lower end to 1 below it, where beards grow."""
    if "nose" not in model.regions:
        return np.ones(len(model.head_weight), np.float32)
    y = np.asarray(model.vertices(model.neutral())[0, :, 1])
    end = y[np.asarray(model.regions["nose"])].min()
    return smoothstep(-y, -end - 0.5, -end + 0.5).astype(np.float32)


def _other_half(model: MorphableModel, mark: Array, trust: Array, uv: Array, points: Array) -> Array:
    """(H, W) the mark at the same place of the face's other half; the pixel's own where that is hidden.

    Texture coordinates of skin mirror with u to 1 - u.
    """
    place, occupied, _ = unwrap(model, points, UNWRAPPED)
    across, down = (
        ((1 - uv[..., 0]) * UNWRAPPED - 0.5).astype(np.float32),
        ((1 - uv[..., 1]) * UNWRAPPED - 0.5).astype(np.float32),
    )
    where = cv2.remap(place, across, down, cv2.INTER_NEAREST) - 0.5
    known = cv2.remap(np.float32(occupied), across, down, cv2.INTER_NEAREST)
    other, sure = (cv2.remap(m, where[..., 0], where[..., 1], cv2.INTER_LINEAR) for m in (mark, trust))
    return np.where(known * sure > 0.3, other, mark)


UNWRAPPED = 128  # texels a side of the texture in which the halves of a face are compared
