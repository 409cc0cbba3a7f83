"""Numbers that say how sure they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000

Values = NDArray[np.float64]


def bootstrap_interval(
    columns: tuple[Values, ...], statistic: Callable[..., Values], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval (Efron 1979); photos are resampled, as edits of one are not independent.

    Args:
        columns: one or more (photos, edits) arrays, resampled together.
        statistic: of such columns with further axes before, over the last two axes.
        seed: of the resampling.
    """
    photos = len(columns[0])
    if photos < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(photos, size=(RESAMPLES, photos))
    values = statistic(*(column[draws] for column in columns))
    low, high = np.nanpercentile(values, [2.5, 97.5], method="nearest") if not np.isnan(values).all() else (np.nan,) * 2
    return float(low), float(high)
