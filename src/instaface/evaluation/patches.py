"""Sliced Wasserstein distance of Laplacian-pyramid patches (Karras et al. 2018, section 5): realism without weights.

Two sets of pictures are alike at a scale when the patches of that level of their Laplacian pyramids are alike. What
remains between two halves of real photos is the floor; an edit's figure is its excess over that floor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PATCH = 7
LEVELS = 4
PATCHES = 32  # of each level of each picture
PROJECTIONS = 128
SCALE = 1000  # as the paper's tables

Descriptors = NDArray[np.float32]


def laplacian_pyramid(pixels: NDArray[np.uint8], levels: int = LEVELS) -> list[NDArray[np.float32]]:
    """(H, W, 3) uint8 picture to band-pass levels (H / 2^k, W / 2^k, 3), the last one low-pass; values 0..1 apart."""
    import cv2

    pyramid, image = [], pixels.astype(np.float32) / 255
    for _ in range(levels - 1):
        small = cv2.pyrDown(image).astype(np.float32)
        pyramid.append(image - cv2.pyrUp(small, dstsize=(image.shape[1], image.shape[0])))
        image = small
    return [*pyramid, image]


def patch_corners(
    mask: NDArray[np.bool_], level: int, count: int, rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """(count, 2) random upper left corners (row, column) of patches whose middle lies in the full-size mask.

    None where the mask holds none.
    """
    height, width = (size >> level for size in mask.shape)
    middle = (np.arange(height - PATCH + 1) + PATCH // 2) << level, (np.arange(width - PATCH + 1) + PATCH // 2) << level
    inside = np.flatnonzero(mask[np.ix_(*middle)])
    if not len(inside):
        return None
    return np.stack(np.divmod(inside[rng.integers(len(inside), size=count)], len(middle[1])), -1)


def patches(level: NDArray[np.float32], corners: NDArray[np.int64]) -> Descriptors:
    """(n, 7 x 7 x 3) patches of a pyramid level."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(0, 1))  # type: ignore[call-overload]
    chosen = windows[corners[:, 0], corners[:, 1]].transpose(0, 2, 3, 1)  # channels last
    return chosen.reshape(len(corners), -1).astype(np.float32)


def sliced_wasserstein(a: Descriptors, b: Descriptors, projections: int = PROJECTIONS, seed: int = 0) -> float:
    """Mean absolute difference of sorted projections of (N, D) and (M, D) onto random directions (Rabin et al. 2011).

    Of the larger set evenly spaced quantiles are taken.
    """
    onto = directions(a.shape[1], projections, seed)
    return sorted_distance(projected(a, onto), projected(b, onto))


def directions(dimensions: int, projections: int = PROJECTIONS, seed: int = 0) -> Descriptors:
    """(D, P) random unit vectors."""
    drawn = np.random.default_rng(seed).standard_normal((dimensions, projections)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=0)


def projected(descriptors: Descriptors, onto: Descriptors) -> Descriptors:
    """(P, N) sorted projections of (N, D) descriptors onto (D, P) directions."""
    return np.sort(np.ascontiguousarray((descriptors @ onto).T), axis=1)


def sorted_distance(a: Descriptors, b: Descriptors) -> float:
    """Mean distance of (P, N) and (P, M) sorted projections, by as many quantiles as the smaller set has."""
    if a.shape != b.shape:
        count = min(a.shape[1], b.shape[1])
        a, b = (x[:, ((np.arange(count) + 0.5) * x.shape[1] / count).astype(int)] for x in (a, b))
    return float(np.abs(a - b).mean())


def excess(
    edits: list[Descriptors], sources: list[Descriptors], halves: Sequence[int] | None = None
) -> tuple[float, float]:
    """How much further edits are from other people's photos than photos are; and that floor.

    The people are split into two halves. The floor is the distance of the one half's photos from the other's; the
    edits of the one half are held against the photos of the other in the same way, so that an editor that does
    nothing scores exactly 0. Channels are scaled by the photos' statistics, as in the paper.

    Args:
        edits: for each person (n, 7 x 7 x 3) patches of one pyramid level.
        sources: the same of the source photo, at the same places.
        halves: 0 or 1 for each person; by default every second one.

    Returns:
        excess and floor, times 1000; NaN where a half is empty.
    """
    halves = [k % 2 for k in range(len(sources))] if halves is None else halves
    if len(set(halves)) < 2:
        return float("nan"), float("nan")
    channels = np.ascontiguousarray(np.concatenate(sources).reshape(-1, 3).T)
    scale = np.tile(1 / np.maximum(channels.std(1), 1e-6), PATCH**2).astype(np.float32)
    onto = scale[:, None] * directions(PATCH**2 * 3)
    made, real = (
        [
            projected(np.concatenate([x for x, h in zip(side, halves, strict=True) if h == half]), onto)
            for half in (0, 1)
        ]
        for side in (edits, sources)
    )
    distance = (sorted_distance(made[0], real[1]) + sorted_distance(made[1], real[0])) / 2
    floor = sorted_distance(real[0], real[1])
    return SCALE * (distance - floor), SCALE * floor
