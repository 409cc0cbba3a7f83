"""From rows to tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from instaface.errors import InstaFaceError
from instaface.evaluation.figures import FIGURES, Figure, Values, statistic
from instaface.evaluation.statistics import bootstrap_interval

ALL = "all"
FALSE_ACCEPTS = 0.01  # of the threshold that the photos themselves set
SMALLEST_GROUP = 5  # photos; a smaller group's figure is left out
ANGLES = ("yaw", "pitch", "roll")

Cell = dict[str, Any]  # value, low, high, tail, n, worst_group, worst_value
Table = dict[str, dict[str, Cell]]  # edit, figure


def frame(rows: Sequence[dict[str, Any]], sources: dict[str, dict[str, Any]], threshold: float) -> pd.DataFrame:
    """Rows as a table of numbers, with what follows from several columns: pose as one change, identity."""
    data = pd.DataFrame([{k: v for k, v in row.items() if k != "embedding"} for row in rows])
    if "yaw_asked" in data:
        asked, got, pnp = (data[[f"{a}_{what}" for a in ANGLES]].to_numpy(float) for what in ("asked", "got", "pnp"))
        size = np.linalg.norm(asked, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            data["pose_asked"] = size
            data["pose_got"], data["pose_pnp"] = ((asked * x).sum(1) / size for x in (got, pnp))
        data["pose_error"] = np.linalg.norm(got - asked, axis=1)
        data["pose_error_pnp"] = np.linalg.norm(pnp - asked, axis=1)
    return data.join(pd.DataFrame([_identity(row, sources, threshold) for row in rows], index=data.index))


def _identity(row: dict[str, Any], sources: dict[str, dict[str, Any]], threshold: float) -> dict[str, float]:
    if "embedding" not in row:
        return {}
    edit, own = np.array(row["embedding"]), np.array(sources[row["photo"]]["embedding"])
    others = np.array([source["embedding"] for name, source in sources.items() if name != row["photo"]])
    similarity = float(edit @ own)
    figures = {"similarity": similarity, "same": float(similarity >= threshold)}
    if len(others):
        nearest = float((others @ edit).max())
        figures |= {"margin": similarity - nearest, "first": float(similarity > nearest)}
        figures["same_here"] = float(similarity >= own_threshold(sources))
    return figures


def own_threshold(sources: dict[str, dict[str, Any]]) -> float:
    """Similarity that 1 % of the pairs of different people among the sources reach."""
    faces = np.array([source["embedding"] for source in sources.values()])
    pairs = (faces @ faces.T)[np.triu_indices(len(faces), 1)]
    return float(np.quantile(pairs, 1 - FALSE_ACCEPTS)) if len(pairs) else float("nan")


def read_labels(path: Path | None, names: Sequence[str]) -> dict[str, list[str]]:
    """Groups of photos from a CSV with a column ``file``: each value of each other column, and their combinations."""
    if path is None:
        return {}
    table = pd.read_csv(path, dtype=str)
    if "file" not in table:
        raise InstaFaceError(f"{path} has no column file")
    table["file"] = table["file"].map(lambda name: Path(name).stem)
    table = table[table["file"].isin(names)].set_index("file")
    columns = list(table.columns)
    groups: dict[str, list[str]] = {}
    for column in columns:
        groups |= {str(value): list(part.index) for value, part in table.groupby(column)}
    if len(columns) > 1:
        groups |= {" ".join(map(str, value)): list(part.index) for value, part in table.groupby(columns)}
    return {name: photos for name, photos in groups.items() if len(photos) >= SMALLEST_GROUP}


def make_tables(data: pd.DataFrame, groups: dict[str, list[str]]) -> dict[str, Table]:
    """All tables: for each edit (and all together) each figure that concerns it."""
    tables: dict[str, Table] = {}
    kinds = dict(zip(data["edit"], data["kind"], strict=True))
    for figure in FIGURES:
        if not set(figure.columns) <= set(data.columns):
            continue
        edits = [edit for edit, kind in kinds.items() if figure.concerns(kind)]
        driven = bool(edits) and kinds[edits[0]] in ("self", "cross")
        selections = {ALL: edits} if driven else {edit: [edit] for edit in edits} | {ALL: edits}
        for name, selection in selections.items():
            cell = make_cell(figure, data[data["edit"].isin(selection)], groups)
            if cell["n"]:
                tables.setdefault(figure.table, {}).setdefault(name, {})[figure.name] = cell
    for table in tables.values():
        if ALL in table:  # last
            table[ALL] = table.pop(ALL)
    return tables


def make_cell(figure: Figure, data: pd.DataFrame, groups: dict[str, list[str]]) -> Cell:
    """One figure of some rows: value, 95 % interval, the bad tail's 5 %, number of rows, the worst group."""
    columns = matrices(figure, data)
    value = float(statistic(figure, columns))
    low, high = bootstrap_interval(columns, lambda *c: statistic(figure, c))
    single = columns[-1][~np.isnan(columns[-1])]
    cell: Cell = {"value": value, "low": low, "high": high, "n": len(single)}
    if figure.statistic != "slope" and len(single):
        tail = {"lower": 95, "higher": 5}.get(figure.better, 5)
        cell["tail"] = float(np.percentile(single, tail, method="nearest"))
    scores = {}
    for name, photos in groups.items():
        part = data[data["photo"].isin(photos)]
        if part["photo"].nunique() >= SMALLEST_GROUP:
            scores[name] = float(statistic(figure, matrices(figure, part)))
    scores = {name: score for name, score in scores.items() if not np.isnan(score)}
    if scores:
        cell["worst_group"] = max(scores, key=lambda name: float(figure.badness(np.array(scores[name]))))
        cell["worst_value"] = scores[cell["worst_group"]]
    return cell


def matrices(figure: Figure, data: pd.DataFrame) -> tuple[Values, ...]:
    """(photos, edits) values of each of the figure's columns, NaN where a row is missing."""
    return tuple(data.pivot(index="photo", columns="edit", values=column).to_numpy(float) for column in figure.columns)


def edits_of_zero(data: pd.DataFrame) -> Cell:
    """What became of the edits that ask for nothing: how many returned the photo exactly."""
    zero = data[data["kind"] == "zero"]
    if "whole_psnr" not in zero or not len(zero):
        return {}
    return {"n": len(zero), "exact": int(np.isinf(zero["whole_psnr"].astype(float)).sum())}
