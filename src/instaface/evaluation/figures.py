"""The figures of the tables: what each is, in which direction it is good, how rows become one number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
TABLES = ("control", "identity", "preservation", "realism", "reenactment", "speed")


@dataclass(frozen=True)
class Figure:
    """One column of a table.

    Attributes:
        name: of the figure.
        table: where it stands.
        columns: of the rows that it is made from: one, or (asked, got) for a slope.
        statistic: how rows become a number.
        better: "higher", "lower", or "one" (the nearer to 1 the better).
        text: what it is, with its unit.
        kinds: edits that it is meant for (any of these controls); all where empty.
        digits: decimals shown.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    statistic: Literal["mean", "median", "slope"]
    better: Literal["higher", "lower", "one"]
    text: str
    kinds: tuple[str, ...] = ()
    digits: int = 2

    def concerns(self, kind: str) -> bool:
        """Whether it is meant for edits of this kind."""
        return kind != "zero" and (not self.kinds or bool(set(self.kinds) & set(kind.split("+"))))

    def badness(self, values: Values) -> Values:
        """Numbers that grow as the figure gets worse."""
        if self.better == "one":
            return np.abs(values - 1)
        return values if self.better == "lower" else -values


DRIVEN = ("self", "cross")
WORN = "dB; accessories: neither hair, clothes nor covered by the face model; where head and light stay"

FIGURES = (
    Figure("pose error", "control", ("pose_error",), "median", "lower", "degrees, by the tracker", digits=1),
    Figure(
        "pose error, PnP",
        "control",
        ("pose_error_pnp",),
        "median",
        "lower",
        "degrees, by solvePnP on rigid landmarks",
        digits=1,
    ),
    Figure(
        "pose error, dlib",
        "control",
        ("pose_error_five",),
        "median",
        "lower",
        "degrees, by dlib's five points",
        digits=1,
    ),
    Figure("pose slope", "control", ("pose_asked", "pose_got"), "slope", "one", "turn out / asked", ("pose", *DRIVEN)),
    Figure("pose slope, PnP", "control", ("pose_asked", "pose_pnp"), "slope", "one", "as before", ("pose", *DRIVEN)),
    Figure("pose slope, dlib", "control", ("pose_asked", "pose_five"), "slope", "one", "as before", ("pose", *DRIVEN)),
    Figure(
        "expression error",
        "control",
        ("expression_error",),
        "mean",
        "lower",
        "mean difference of the asked weights",
        ("expression", *DRIVEN),
    ),
    Figure(
        "expression slope",
        "control",
        ("expression_asked", "expression_got"),
        "slope",
        "one",
        "change out / asked",
        ("expression", *DRIVEN),
    ),
    Figure("crosstalk", "control", ("crosstalk",), "mean", "lower", "largest change of a weight that was not asked"),
    Figure(
        "landmark distance",
        "control",
        ("landmark_distance",),
        "mean",
        "lower",
        "% of the inter-ocular distance, from where the target puts them",
    ),
    Figure(
        "light slope",
        "control",
        ("light_asked", "light_got"),
        "slope",
        "one",
        "change of the log ratio of cheek luminances, out / predicted",
        ("light", *DRIVEN),
    ),
    Figure(
        "light error",
        "control",
        ("light_error",),
        "median",
        "lower",
        "% between measured and predicted cheek ratio",
        ("light", *DRIVEN),
        1,
    ),
    Figure("lost", "control", ("lost",), "mean", "lower", "rate of edits in which no face is found"),
    Figure("similarity", "identity", ("similarity",), "mean", "higher", "cosine of source and edit", digits=3),
    Figure("same person", "identity", ("same",), "mean", "higher", "rate above the recogniser's published threshold"),
    Figure(
        "same person at 1 %",
        "identity",
        ("same_here",),
        "mean",
        "higher",
        "rate above the threshold that 1 % of pairs of these photos' people pass",
    ),
    Figure("margin", "identity", ("margin",), "mean", "higher", "similarity less that of the nearest other", digits=3),
    Figure("nearest is the source", "identity", ("first",), "mean", "higher", "rate, among all sources"),
    Figure("background PSNR", "preservation", ("background_psnr",), "median", "higher", "dB", digits=1),
    Figure("background SSIM", "preservation", ("background_ssim",), "mean", "higher", "0..1", digits=3),
    Figure("background LPIPS", "preservation", ("background_lpips",), "mean", "lower", "VGG", digits=3),
    Figure("background shift", "preservation", ("background_shift",), "mean", "lower", "CIEDE2000 of the mean"),
    Figure("clothes PSNR", "preservation", ("clothes_psnr",), "median", "higher", "dB; not for light", digits=1),
    Figure("clothes SSIM", "preservation", ("clothes_ssim",), "mean", "higher", "0..1", digits=3),
    Figure("clothes LPIPS", "preservation", ("clothes_lpips",), "mean", "lower", "VGG", digits=3),
    Figure("clothes shift", "preservation", ("clothes_shift",), "mean", "lower", "CIEDE2000 of the mean"),
    Figure("hair PSNR", "preservation", ("hair_psnr",), "median", "higher", "dB; where head and light stay", digits=1),
    Figure("hair SSIM", "preservation", ("hair_ssim",), "mean", "higher", "0..1", digits=3),
    Figure("hair LPIPS", "preservation", ("hair_lpips",), "mean", "lower", "VGG", digits=3),
    Figure("hair shift", "preservation", ("hair_shift",), "mean", "lower", "CIEDE2000 of the mean"),
    Figure("worn PSNR", "preservation", ("worn_psnr",), "median", "higher", WORN, digits=1),
    Figure("worn SSIM", "preservation", ("worn_ssim",), "mean", "higher", "0..1", digits=3),
    Figure("worn LPIPS", "preservation", ("worn_lpips",), "mean", "lower", "VGG", digits=3),
    Figure("worn shift", "preservation", ("worn_shift",), "mean", "lower", "CIEDE2000 of the mean"),
    Figure(
        "sharpness kept",
        "realism",
        ("sharpness",),
        "median",
        "one",
        "Laplacian energy of the inner face, out / in",
    ),
    Figure("truth PSNR", "reenactment", ("truth_psnr",), "mean", "higher", "dB, aligned face", digits=1),
    Figure("truth SSIM", "reenactment", ("truth_ssim",), "mean", "higher", "0..1, aligned face", digits=3),
    Figure("truth LPIPS", "reenactment", ("truth_lpips",), "mean", "lower", "VGG, aligned face", digits=3),
    Figure("seconds", "speed", ("seconds",), "median", "lower", "an edit of a tracked face", digits=3),
    Figure(
        "processor seconds",
        "speed",
        ("processor_seconds",),
        "median",
        "lower",
        "the same by processor time, which other work on the machine does not lengthen",
        digits=3,
    ),
    Figure("peak memory", "speed", ("memory_mib",), "median", "lower", "MiB of a process, all included", digits=0),
)


def figures_of(columns: Iterable[str]) -> list[Figure]:
    """The figures that rows with these columns give; those of identity once more for each further recogniser."""
    columns = list(columns)
    figures = list(FIGURES)
    for recogniser in (column.removeprefix("similarity ") for column in columns if column.startswith("similarity ")):
        figures += [
            replace(f, name=f"{f.name}, {recogniser}", columns=tuple(f"{column} {recogniser}" for column in f.columns))
            for f in FIGURES
            if f.table == "identity"
        ]
    return [figure for figure in figures if set(figure.columns) <= set(columns)]


_STATISTICS: dict[str, Callable[..., Values]] = {
    "mean": lambda values: np.nanmean(values, axis=(-2, -1)),
    "median": lambda values: np.nanmedian(values, axis=(-2, -1)),
    "slope": lambda asked, got: (
        np.nansum(asked * got, axis=(-2, -1)) / np.nansum(np.where(np.isnan(got), 0, asked**2), axis=(-2, -1))
    ),
}


def statistic(figure: Figure, columns: tuple[Values, ...]) -> Values:
    """The figure of (..., photos, edits) columns, over the last two axes; NaN where there is nothing."""
    import warnings

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(_STATISTICS[figure.statistic](*columns), np.float64)
