"""Means that say how sure they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000


def bootstrap_interval(
    values: ArrayLike, statistic: Callable[[NDArray[np.float64]], float] = np.mean, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a statistic of (N,) or (N, K) values, resampled along N (Efron 1979)."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile([statistic(values[draw]) for draw in draws], [2.5, 97.5])
    return float(low), float(high)


def slope(asked: ArrayLike, got: ArrayLike) -> float:
    """Least-squares slope through the origin of the change that came out against the change asked: 1 is exact."""
    asked, got = np.asarray(asked, np.float64), np.asarray(got, np.float64)
    total = float(asked @ asked)
    return float(asked @ got) / total if total > 0 else float("nan")


def clustered(values: ArrayLike, clusters: ArrayLike) -> NDArray[np.float64]:
    """Mean of the (N,) values of each cluster, one number a photo: edits of one photo are not independent."""
    values, (_, index) = np.asarray(values, np.float64), np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(index, values) / np.bincount(index)
