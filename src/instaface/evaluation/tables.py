"""From rows to tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from instaface.errors import InstaFaceError
from instaface.evaluation.figures import Figure, Values, figures_of, statistic
from instaface.evaluation.statistics import bootstrap_interval

ALL = "all"
FALSE_ACCEPTS = 0.01  # of the threshold that the photos themselves set
SMALLEST_GROUP = 5  # photos; a smaller group's figure is left out
ANGLES = ("yaw", "pitch", "roll")
JUDGES = ("got", "pnp", "five")  # of pose: the tracker, perspective-n-point, dlib's five points
# Figures of the breakdown by group and size of the turn.
BY_SIZE = ("pose slope, PnP", "pose error, PnP", "similarity", "same person at 1 %", "landmark distance", "lost")

Cell = dict[str, Any]  # value, low, high, tail, n, worst_group, worst_value
Table = dict[str, dict[str, Cell]]  # edit, figure


def frame(
    rows: Sequence[dict[str, Any]], sources: dict[str, dict[str, Any]], thresholds: dict[str, float]
) -> pd.DataFrame:
    """Rows as a table of numbers, with what follows from several columns: pose as one change, identity.

    Args:
        rows: of the cases.
        sources: rows of the sources by name.
        thresholds: of each recogniser by name; the columns of all but the first end in the name.
    """
    data = pd.DataFrame([{k: v for k, v in row.items() if k != "embeddings"} for row in rows])
    if "yaw_asked" in data:
        asked = data[[f"{angle}_asked" for angle in ANGLES]].to_numpy(float)
        data["pose_asked"] = size = np.linalg.norm(asked, axis=1)
        for judge in JUDGES:
            angles = data[[f"{angle}_{judge}" for angle in ANGLES]].to_numpy(float)
            with np.errstate(invalid="ignore", divide="ignore"):
                data[f"pose_{judge}"] = (asked * angles).sum(1) / size
            data[f"pose_error_{judge}".removesuffix("_got")] = np.linalg.norm(angles - asked, axis=1)
    for number, (name, threshold) in enumerate(thresholds.items()):
        figures = pd.DataFrame(identity(rows, sources, name, threshold), index=data.index)
        data = data.join(figures if number == 0 else figures.add_suffix(f" {name}"))
    return data


def identity(
    rows: Sequence[dict[str, Any]], sources: dict[str, dict[str, Any]], recogniser: str, threshold: float
) -> list[dict[str, float]]:
    """Of each row what a recogniser says of its identity; nothing where no face was found."""
    names, own = list(sources), own_threshold(sources, recogniser)
    faces = np.array([source["embeddings"][recogniser] for source in sources.values()])
    return [_identity(row, names, faces, recogniser, threshold, own) for row in rows]


def _identity(
    row: dict[str, Any], names: list[str], faces: Values, recogniser: str, threshold: float, own: float
) -> dict[str, float]:
    if "embeddings" not in row:
        return {}
    similarities = faces @ np.array(row["embeddings"][recogniser])
    is_own = np.array(names) == row["photo"]
    similarity = float(similarities[is_own][0])
    figures = {"similarity": similarity, "same": float(similarity >= threshold)}
    if len(names) > 1:
        nearest = float(similarities[~is_own].max())
        figures |= {"margin": similarity - nearest, "first": float(similarity > nearest)}
        figures["same_here"] = float(similarity >= own)
    return figures


def own_threshold(sources: dict[str, dict[str, Any]], recogniser: str) -> float:
    """Similarity that 1 % of the pairs of different people among the sources reach."""
    if len(sources) < 2:
        return float("nan")
    faces = np.array([source["embeddings"][recogniser] for source in sources.values()])
    pairs = (faces @ faces.T)[np.triu_indices(len(faces), 1)]
    return float(np.quantile(pairs, 1 - FALSE_ACCEPTS))


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
    for figure in figures_of(data.columns):
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


def by_size(data: pd.DataFrame, groups: dict[str, list[str]], sizes: dict[str, int]) -> dict[str, Table]:
    """Figures of each group at each size of the turn, all photos first: a table a size, a row a group.

    Args:
        data: the rows.
        groups: photos by group.
        sizes: degrees of the edits that turn the head and do nothing else.
    """
    figures = [figure for figure in figures_of(data.columns) if figure.name in BY_SIZE]
    tables: dict[str, Table] = {}
    for size in sorted(set(sizes.values())):
        edits = [edit for edit, degrees in sizes.items() if degrees == size]
        part = data[data["edit"].isin(edits)]
        for name, photos in {ALL: list(part["photo"].unique()), **groups}.items():
            chosen = part[part["photo"].isin(photos)]
            if chosen["photo"].nunique() >= (1 if name == ALL else SMALLEST_GROUP):
                row = {figure.name: make_cell(figure, chosen, {}) for figure in figures}
                tables.setdefault(f"{size} degrees", {})[name] = row
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
    of_rows = pd.Index(data["photo"]).unique().sort_values()
    scores = {}
    for name, photos in groups.items():
        part = of_rows.isin(photos)
        if part.sum() >= SMALLEST_GROUP:
            scores[name] = float(statistic(figure, tuple(column[part] for column in columns)))
    scores = {name: score for name, score in scores.items() if not np.isnan(score)}
    if scores:
        cell["worst_group"] = max(scores, key=lambda name: float(figure.badness(np.array(scores[name]))))
        cell["worst_value"] = scores[cell["worst_group"]]
    return cell


def matrices(figure: Figure, data: pd.DataFrame) -> tuple[Values, ...]:
    """(photos, edits) values of each of the figure's columns, photos by name, NaN where a row is missing."""
    return tuple(data.pivot(index="photo", columns="edit", values=column).to_numpy(float) for column in figure.columns)


def edits_of_zero(data: pd.DataFrame) -> Cell:
    """What became of the edits that ask for nothing: how many returned the photo exactly."""
    zero = data[data["kind"] == "zero"]
    if "whole_psnr" not in zero or not len(zero):
        return {}
    return {"n": len(zero), "exact": int(np.isinf(zero["whole_psnr"].astype(float)).sum())}
