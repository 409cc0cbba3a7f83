"""Plain means of filling what the camera never saw."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]


def push_pull(values: Array, weights: Array) -> Array:
    """Continues ``values`` smoothly from where they are known (Gortler et al. 1996, The Lumigraph, section 3.5).

    Args:
        values: (H, W) or (H, W, C) float32.
        weights: (H, W) float32, 0 where a value is unknown, 1 where it is known.

    Returns:
        ``values`` where the weight is 1, a smooth continuation elsewhere; zero where no weight is given at all.
    """
    height, width = weights.shape
    channels = values.reshape(height, width, -1)
    level = np.empty((height, width, channels.shape[2] + 1), np.float32)
    level[..., :-1], level[..., -1] = channels, 1
    _scale(level, np.ascontiguousarray(weights, np.float32))
    pyramid = [level]
    while min(level.shape[:2]) > 1:
        level = cv2.pyrDown(level)
        weight = level[..., -1]
        _scale(level, np.minimum(1, 4 * weight) / np.maximum(weight, 1e-12))  # a quarter covered is as good as known
        pyramid.append(level)
    filled = pyramid.pop()
    while pyramid:
        finer = pyramid.pop()
        coarse = cv2.pyrUp(filled, dstsize=(finer.shape[1], finer.shape[0]))
        filled = _over(finer, coarse)
    _scale(filled, 1 / np.maximum(filled[..., -1], 1e-6))
    return filled[..., :-1].reshape(values.shape)


@njit(cache=True, nogil=True)
def _scale(values, factors):  # type: ignore[no-untyped-def]
    """Multiplies the channels of (H, W, C) values, in place, by (H, W) factors."""
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            for c in range(values.shape[2]):
                values[y, x, c] *= factors[y, x]


@njit(cache=True, nogil=True)
def _over(finer, coarse):  # type: ignore[no-untyped-def]
    """(H, W, C) values, of which the last channel is opacity, laid over others; in place."""
    for y in range(finer.shape[0]):
        for x in range(finer.shape[1]):
            rest = np.float32(1) - finer[y, x, -1]
            for c in range(finer.shape[2]):
                finer[y, x, c] += rest * coarse[y, x, c]
    return finer


def reflect(values: Array, known: NDArray[np.bool_], smooth: float, reach: float = 0.12) -> tuple[Array, Array]:
    """Continues a texture over the border of its known part by reflecting it at the border.

    Args:
        values: (H, W, C) float32.
        known: (H, W) where ``values`` hold.
        smooth: standard deviation in pixels by which the border is smoothed before it is reflected at.
        reach: share of the picture's longer side over which trust falls to a third.

    Returns:
        (H, W, C) float32 continued values and (H, W) float32 trust, which falls from 1 at the border to 0 where the
        reflected point is itself unknown or the border is far.
    """
    height, width = known.shape
    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ys, xs = np.nonzero(known)
    nearest = np.zeros((labels.max() + 1, 2), np.float32)
    nearest[labels[ys, xs]] = np.stack([xs, ys], -1)
    target = nearest[labels]
    target = _blurred(target, smooth)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    source = 2 * target - grid
    mapped, trust = (
        cv2.remap(picture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for picture in (values, known.astype(np.float32))
    )
    return mapped, trust * np.exp(-((distance / (reach * max(height, width))) ** 2)).astype(np.float32)


def _blurred(values: Array, sigma: float) -> Array:
    """A Gaussian blur of (H, W, C) values, on as coarse a grid as it allows."""
    step, (height, width) = max(1, int(sigma / 2)), values.shape[:2]
    small = cv2.resize(values, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height), interpolation=cv2.INTER_LINEAR)


def calmed(values: Array, known: NDArray[np.bool_], reach: int, usual: float = 2.5) -> Array:
    """A picture without what is singular in it: stray hairs and spots on a plain wall, but not a wall's pattern.

    Args:
        values: (H, W, C) float32.
        known: (H, W) where ``values`` hold.
        reach: pixels around each pixel that say what is usual there.
        usual: how many times the mean deviation from the surroundings a pixel may deviate.

    Returns:
        (H, W, C) float32; it holds in ``known`` only.
    """
    weight = known.astype(np.float32)[..., None]
    total = np.maximum(cv2.blur(weight, (2 * reach + 1,) * 2), 1e-3)[..., None]

    def around(picture: Array) -> Array:
        return cv2.blur(picture * weight, (2 * reach + 1,) * 2) / total

    mean = around(values)
    detail = values - mean
    most = usual * around(np.abs(detail))
    return mean + np.clip(detail, -most, most)


GRAIN = 4.0  # pixels: standard deviation of the blur that grain stands out from
TILE = 40  # pixels, a multiple of 8
TYPICAL = 0.3  # share of the tiles whose contrast is most like the usual: the others may show single things
DRAWS = 4  # of which the nearest is taken


def grain(values: Array, known: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> Array:
    """The fine detail of what is known of a picture, laid over the rest of it without a seam or a pattern.

    Tiles of it, drawn at random from known places close by, overlap by half and are blended so that the contrast stays
    (tiling and blending, Heitz and Neyret 2018, High-Performance By-Example Noise using a Histogram-Preserving
    Blending Operator). The draw is the same for the same picture.

    Args:
        values: (H, W, C) float32.
        known: (H, W) where ``values`` hold.
        wanted: (H, W) where grain is wanted.

    Returns:
        (H, W, C) float32, its mean about 0; 0 where none is wanted, and everywhere where no tile is known.
    """
    detail, half = _detail(values, known), TILE // 2
    corners = _usual_tiles(detail, known)
    total = np.zeros((*known.shape, values.shape[2] + 1), np.float32)
    if len(corners):
        before = np.pad(wanted, ((half, 0), (half, 0))).astype(np.uint8)
        touched = cv2.dilate(before, np.ones((TILE, TILE)), anchor=(0, 0))
        places = np.argwhere(touched[::half, ::half]) * half - half
        drawn = corners[np.random.default_rng(0).integers(len(corners), size=(len(places), DRAWS))]
        nearest = ((drawn - places[:, None]) ** 2).sum(-1).argmin(1)
        wave = np.sin(np.pi * (np.arange(TILE) + 0.5) / TILE).astype(np.float32) ** 2
        _lay_tiles(detail, drawn[np.arange(len(places)), nearest], places, np.outer(wave, wave), total)
        _scale(total, wanted / np.sqrt(np.maximum(total[..., -1], 1e-6)))
    return total[..., :-1]


def _detail(values: Array, known: NDArray[np.bool_]) -> Array:
    """(H, W, C) what stands out from its known surroundings; 0 where that is unknown."""
    stacked = np.empty((*known.shape, values.shape[2] + 1), np.float32)
    stacked[..., :-1], stacked[..., -1] = values, 1
    _scale(stacked, known.astype(np.float32))
    return _standing_out(values, _blurred(stacked, GRAIN), known)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _standing_out(values, around, known):  # type: ignore[no-untyped-def]
    """(H, W, C) differences of known values to what is ``around`` them: (H, W, C + 1) weighted sums and weights."""
    out = np.zeros_like(values)
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            if known[y, x]:
                for c in range(values.shape[2]):
                    out[y, x, c] = values[y, x, c] - around[y, x, c] / max(around[y, x, -1], np.float32(1e-3))
    return out


def _usual_tiles(detail: Array, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 2) rows and columns of the upper left corners of known tiles, of those that have the usual contrast."""
    step, first = TILE // 8, TILE // 2
    share, energy = (
        cv2.boxFilter(part, cv2.CV_32F, (TILE, TILE), borderType=cv2.BORDER_CONSTANT)[first::step, first::step]
        for part in (known.astype(np.float32), np.einsum("hwc,hwc->hw", detail, detail))
    )
    # Sums of squares that are nearly 0 may be rounded to less.
    corners, contrast = np.argwhere(share > 0.999) * step, np.sqrt(energy[share > 0.999].clip(0))
    unusual = np.abs(contrast - np.median(contrast)) if len(corners) else contrast
    return corners[np.argsort(unusual, kind="stable")[: max(1, int(TYPICAL * len(corners)))]]


@njit(cache=True, nogil=True)
def _lay_tiles(detail, sources, places, window, total):  # type: ignore[no-untyped-def]
    """Sums weighted tiles of (H, W, C) detail, and in a last channel the squares of their weights, in place.

    Args:
        sources, places: (n, 2) rows and columns of the tiles' upper left corners, where they are from and where to.
        window: (TILE, TILE) weights.
        total: (H, W, C + 1).
    """
    height, width = window.shape
    for k in range(len(places)):
        y, x = places[k]
        row, column = sources[k]
        for j in range(max(0, -y), min(height, total.shape[0] - y)):
            for i in range(max(0, -x), min(width, total.shape[1] - x)):
                for c in range(detail.shape[2]):
                    total[y + j, x + i, c] += window[j, i] * detail[row + j, column + i, c]
                total[y + j, x + i, -1] += window[j, i] ** 2


def continue_texture(
    values: Array, known: NDArray[np.bool_], texture: Array | None = None, smooth: float = 4.0, reach: float = 0.12
) -> Array:
    """Continues what is known of a picture: its texture close by, its colour and grain farther away.

    Args:
        values: (H, W, C) float32.
        known: (H, W) where ``values`` hold.
        texture: (H, W, C) float32 what is continued, if not ``values`` itself.
        smooth, reach: see :func:`reflect`.

    Returns:
        (H, W, C) float32, equal to ``values`` inside of ``known``.
    """
    texture = values if texture is None else texture
    even = push_pull(texture, known.astype(np.float32))
    if not known.any():
        return even
    # ``even``, since what is unknown must not shine through where trust is blurred.
    mirrored, trust = reflect(even, known, smooth, reach)
    trust = cv2.GaussianBlur(trust, (0, 0), 4)
    keep = np.clip(2 * cv2.GaussianBlur(known.astype(np.float32), (0, 0), 2) - 1, 0, 1)
    _continue(even, values, keep, mirrored, trust, grain(texture, known, trust < 0.98))
    return even


@njit(cache=True, nogil=True)
def _continue(even, values, keep, mirrored, trust, laid):  # type: ignore[no-untyped-def]
    """Turns what is ``even`` into (H, W, C) values where they are to be kept, elsewhere into what was mirrored, as far
    as that is trusted, with grain ``laid`` over the rest; in place."""
    for y in range(even.shape[0]):
        for x in range(even.shape[1]):
            t, k = trust[y, x], keep[y, x]
            rest = np.sqrt(max(np.float32(1) - t * t, np.float32(0)))
            for c in range(even.shape[2]):
                own = even[y, x, c] + t * (mirrored[y, x, c] - even[y, x, c]) + rest * laid[y, x, c]
                even[y, x, c] = own + k * (values[y, x, c] - own)


def box(mask: NDArray[np.bool_], margin: float) -> tuple[slice, slice]:
    """Rows and columns of what is True, with a margin around it, as a share of the longer side."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    wide = int(margin * max(mask.shape)) + 1
    return tuple(slice(max(int(ends[0]) - wide, 0), int(ends[-1]) + wide + 1) for ends in (rows, columns))  # type: ignore[return-value]


def smoothstep(x: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
