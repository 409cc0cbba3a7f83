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


def reflect(values: Array, known: NDArray[np.bool_], smooth: float) -> tuple[Array, Array]:
    """Continues a texture over the border of its known part by reflecting it at the border.

    Args:
        values: (H, W, C) float32.
        known: (H, W) where ``values`` hold.
        smooth: standard deviation in pixels by which the border is smoothed before it is reflected at.

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
    target = cv2.GaussianBlur(target, (0, 0), smooth)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    source = 2 * target - grid
    mapped, trust = (
        cv2.remap(picture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for picture in (values, known.astype(np.float32))
    )
    return mapped, trust * np.exp(-((distance / (0.12 * max(height, width))) ** 2)).astype(np.float32)


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


def continue_texture(values: Array, known: NDArray[np.bool_], texture: Array | None = None) -> Array:
    """Continues what is known of a picture: its texture close by, its colour farther away.

    Args:
        values: (H, W, C) float32.
        known: (H, W) where ``values`` hold.
        texture: (H, W, C) float32 what is continued, if not ``values`` itself.

    Returns:
        (H, W, C) float32, equal to ``values`` inside of ``known``.
    """
    texture = values if texture is None else texture
    smooth = push_pull(texture, known.astype(np.float32))
    if not known.any():
        return smooth
    # What is unknown must not shine through where trust is blurred.
    mirrored, trust = reflect(np.where(known[..., None], texture, smooth), known, smooth=4)
    trust = cv2.GaussianBlur(trust, (0, 0), 4)[..., None]
    keep = np.clip(2 * cv2.GaussianBlur(known.astype(np.float32), (0, 0), 2) - 1, 0, 1)[..., None]
    return keep * values + (1 - keep) * (smooth + trust * (mirrored - smooth))


def box(mask: NDArray[np.bool_], margin: float) -> tuple[slice, slice]:
    """Rows and columns of what is True, with a margin around it, as a share of the longer side."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    wide = int(margin * max(mask.shape)) + 1
    return tuple(slice(max(int(ends[0]) - wide, 0), int(ends[-1]) + wide + 1) for ends in (rows, columns))  # type: ignore[return-value]


def smoothstep(x: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
