"""Realism of sets of pictures: one row of the table for an edit, from the stored views.

Two systems are comparable in it: their pictures are held against the same photos, with patches at the same places,
and what counts as invented follows from the edit, not from who made the picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.evaluation.detection import area_under_roc, detection_scores, features
from instaface.evaluation.inception import INCEPTION, frechet_distance, inception_features, kernel_distance, missing
from instaface.evaluation.patches import LEVELS, PATCHES, Descriptors, excess, laplacian_pyramid, patch_corners, patches
from instaface.evaluation.run import invented_path, view_path

FEWEST = 4  # pictures; fewer say nothing of a distribution
SMALLEST = 0.001  # of the view: less is no region
FOLDS = 5  # of the classifier
FEWEST_PARTS = 5  # fewer say nothing of an interval
PARTS = 10  # of the people, left out one after the other for the interval
PATCH_DISTANCE, FLOOR = "patch distance", "its floor"
INVENTED, INVENTED_FLOOR = "patch distance, invented", "its floor, invented"
AUC = "told from photos"
TEXTS = {
    PATCH_DISTANCE: "sliced Wasserstein distance of Laplacian-pyramid patches x 1000, excess over the floor",
    FLOOR: "the same between two halves of the photos",
    INVENTED: "the same where the edit shows what the camera never saw",
    INVENTED_FLOOR: "the same between two halves of the photos, at these places",
    AUC: "area under the ROC curve of a small classifier, cross-validated over people; 0.5 cannot tell",
    "FID": "Frechet distance of Inception features",
    "KID": "kernel distance of Inception features x 1000",
}
WORSE_IS_HIGHER = (PATCH_DISTANCE, INVENTED, AUC, "FID", "KID")
DIGITS = {PATCH_DISTANCE: 1, FLOOR: 1, INVENTED: 1, INVENTED_FLOOR: 1, AUC: 3, "FID": 1, "KID": 1}

Cell = dict[str, Any]
Pyramid = list[NDArray[np.float32]]
PatchesByLevel = dict[int, tuple[Descriptors, Descriptors]]  # of an edit, and of its photo at the same places
# Figures of some of the people, given by their numbers.
Measure = Callable[[Sequence[int]], dict[str, float]]


@dataclass(frozen=True)
class RealismJob:
    """The pictures of one edit: (source, row id) of each; the rest as for :func:`realism_of_edit`."""

    edit: str
    folder: Path
    pairs: tuple[tuple[str, str], ...]
    groups: dict[str, list[str]]
    places: Path | None = None


def realism_of(job: RealismJob) -> tuple[str, dict[str, Cell]]:
    """Name of the edit and its realism, in a process of its own."""
    return job.edit, realism_of_edit(job.folder, job.pairs, job.groups, job.places)


def realism_of_edit(
    folder: Path, pairs: Sequence[tuple[str, str]], groups: dict[str, list[str]], places: Path | None = None
) -> dict[str, Cell]:
    """Realism of the pictures of one edit.

    Args:
        folder: of the report.
        pairs: (source, row id) of each picture.
        groups: names of the sources in each group; groups of fewer than ``FEWEST`` are left out.
        places: report whose invented regions count; by default this one.

    Returns:
        For each figure its value, its 95 % interval and the values ``parts`` that it comes from, and the worst group.
    """
    people = [source for source, _ in pairs]
    if len(people) < FEWEST:
        return {}
    members = [[k for k, person in enumerate(people) if person in set(names)] for names in groups.values()]
    named = {name: part for name, part in zip(groups, members, strict=True) if len(part) >= FEWEST}
    cells: dict[str, Cell] = {}
    for measure in _measures(folder, pairs, places or folder):
        cells |= _cells(measure, len(people), named)
    return cells


def _measures(folder: Path, pairs: Sequence[tuple[str, str]], places: Path) -> list[Measure]:
    photos = [view_path(folder, source) for source, _ in pairs]
    edits = [view_path(folder, name) for _, name in pairs]
    masks = [read_mask(invented_path(places, name)) for _, name in pairs]
    measures = [*_patch_measures(edits, photos, masks), _auc_measure(edits, photos)]
    return measures if missing(INCEPTION) else [*measures, _inception_measure(edits, photos)]


def _cells(measure: Measure, count: int, groups: dict[str, list[int]]) -> dict[str, Cell]:
    """The figures of all people, their interval and the worst group.

    The interval is the delete-a-group jackknife's (Kott 2001): drawing people twice, as a bootstrap does, would make
    sets that are less alike than any real ones.
    """
    values = measure(range(count))
    number = min(PARTS, count // 2)  # two neighbours at a time, one of each half
    parts = [measure([k for k in range(count) if k // 2 % number != part]) for part in range(number)]
    by_group = {name: measure(members) for name, members in groups.items()}
    cells: dict[str, Cell] = {}
    for name, value in values.items():
        left_out = [part.get(name, float("nan")) for part in parts]
        cells[name] = {"value": value, "n": count, "parts": left_out} | jackknife(value, left_out)
        if name == AUC:
            cells[name]["high"] = min(cells[name]["high"], 1.0)  # NaN stays
        scores = {group: row[name] for group, row in by_group.items() if not np.isnan(row.get(name, np.nan))}
        if scores and name in WORSE_IS_HIGHER:
            cells[name]["worst_group"] = max(scores, key=lambda group: scores[group])
            cells[name]["worst_value"] = scores[cells[name]["worst_group"]]
    return cells


def jackknife(value: float, parts: Sequence[float]) -> dict[str, float]:
    """``low`` and ``high`` of the 95 % interval around a value, from those with a part of the people left out."""
    if len(parts) < FEWEST_PARTS:
        return {"low": float("nan"), "high": float("nan")}
    deviations = np.asarray(parts, float) - np.mean(parts)
    error = float(np.sqrt((len(parts) - 1) / len(parts) * (deviations**2).sum()))
    return {"low": value - 1.96 * error, "high": value + 1.96 * error}


def _patch_measures(edits: list[Path], photos: list[Path], masks: Sequence[NDArray[np.bool_]]) -> list[Measure]:
    """Patch distance of whole pictures, and of what was invented; patches lie at the same places in edit and photo."""
    whole, invented = [], []
    for edit, photo, mask in zip(edits, photos, masks, strict=True):
        pyramids = laplacian_pyramid(read_view(edit)), laplacian_pyramid(read_view(photo))
        seed = zlib.crc32(photo.stem.encode())
        whole.append(patches_in(np.ones(pyramids[0][0].shape[:2], bool), *pyramids, seed))
        invented.append(patches_in(mask, *pyramids, seed))
    return [excess_measure(whole, (PATCH_DISTANCE, FLOOR)), excess_measure(invented, (INVENTED, INVENTED_FLOOR))]


def patches_in(mask: NDArray[np.bool_], edit: Pyramid, photo: Pyramid, seed: int) -> PatchesByLevel:
    """Patches of an edit's pyramid and its photo's in a (H, W) mask, by level; none where the mask is too small."""
    if mask.mean() <= SMALLEST:
        return {}
    rng = np.random.default_rng(seed)
    places = {level: patch_corners(mask, level, PATCHES, rng) for level in range(LEVELS)}
    return {k: (patches(edit[k], at), patches(photo[k], at)) for k, at in places.items() if at is not None}


def excess_measure(found: list[PatchesByLevel], names: tuple[str, str]) -> Measure:
    """Excess and floor, means over the levels."""

    def measure(people: Sequence[int]) -> dict[str, float]:
        scores = []
        for level in range(LEVELS):
            chosen = [k for k in people if level in found[k]]
            if len(chosen) >= FEWEST:
                made, real = zip(*(found[k][level] for k in chosen), strict=True)
                scores.append(excess(list(made), list(real), [k % 2 for k in chosen]))
        return dict(zip(names, np.mean(scores, axis=0).tolist(), strict=True)) if scores else {}

    return measure


def _auc_measure(edits: list[Path], photos: list[Path]) -> Measure:
    count = len(photos)
    made, real = np.array([features(read_view(path)) for path in edits]), np.array([_features(path) for path in photos])
    real_scores, scores = detection_scores(real, made, [k % min(FOLDS, count) for k in range(count)])
    return lambda people: {AUC: area_under_roc(real_scores[list(people)], scores[list(people)])}


def _inception_measure(edits: list[Path], photos: list[Path]) -> Measure:
    made, real = (np.concatenate([_inception(path) for path in paths]) for paths in (edits, photos))

    def measure(people: Sequence[int]) -> dict[str, float]:
        one, other = real[list(people)], made[list(people)]
        return {"FID": frechet_distance(one, other), "KID": 1000 * kernel_distance(one, other)}

    return measure


@lru_cache(maxsize=1000)
def _features(path: Path) -> NDArray[np.float32]:
    """Of a photo, which every edit is held against."""
    return features(read_view(path))


@lru_cache(maxsize=1000)
def _inception(path: Path) -> NDArray[np.float64]:
    return inception_features(read_view(path)[None])


def read_view(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) stored view."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) bool; a mask that is not there is empty."""
    from PIL import Image

    return np.asarray(Image.open(path)) > 127 if path.is_file() else np.zeros((1, 1), bool)


def realism_table(results: dict[str, dict[str, Cell]]) -> dict[str, dict[str, Cell]]:
    """Rows of the realism table by edit; the mean over the edits last, its interval from the means of the parts."""
    from instaface.evaluation.tables import ALL

    table = {edit: row for edit, row in results.items() if row}
    means: dict[str, Cell] = {}
    for name in TEXTS:
        cells = [row[name] for row in table.values() if name in row]
        if not cells:
            continue
        value = float(np.mean([cell["value"] for cell in cells]))
        means[name] = {"value": value}
        if len({len(cell["parts"]) for cell in cells}) == 1:
            parts = np.mean([cell["parts"] for cell in cells], axis=0).tolist()
            means[name] |= {"parts": parts} | jackknife(value, parts)
    return table | ({ALL: means} if means else {})
