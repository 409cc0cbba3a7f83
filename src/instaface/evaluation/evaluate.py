"""A whole evaluation: run, sum up, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from instaface.edit import Edit
from instaface.evaluation.cases import Case
from instaface.evaluation.inception import INCEPTION, VGG, missing
from instaface.evaluation.realism import realism_of_edit, realism_table
from instaface.evaluation.report import write_report
from instaface.evaluation.run import in_processes, keep_settings, load_rows, run, settings_of, view_path
from instaface.evaluation.systems import SystemOptions
from instaface.evaluation.tables import edits_of_zero, frame, make_tables, own_threshold, read_labels
from instaface.recognise import load_recogniser


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate and how.

    Attributes:
        cases: the pictures that are asked for.
        protocol: "edits", "self-reenactment" or "cross-reenactment".
        tables: names of the tables to report.
        system: who makes the pictures.
        grid: edits by name, kept in the settings.
        recogniser: name of the face recogniser.
        labels: CSV with a column ``file`` and columns of groups.
        workers: processes.
        command: the command line, for the report.
    """

    cases: Sequence[Case]
    protocol: str
    tables: Sequence[str]
    system: SystemOptions = field(default_factory=SystemOptions)
    grid: dict[str, Edit] = field(default_factory=dict)
    recogniser: str = "dlib"
    labels: Path | None = None
    workers: int = 1
    command: str = ""


def evaluate(
    evaluation: Evaluation, folder: Path, advance: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Run what has not been run yet and write the report; returns what ``metrics.json`` holds.

    Raises:
        InstaFaceError: the recogniser is not there, or the folder holds another evaluation.
    """
    recogniser = load_recogniser(evaluation.recogniser)
    grid = {name: edit.to_dict() for name, edit in evaluation.grid.items()}
    keep_settings(folder, settings_of(evaluation.system, evaluation.recogniser, evaluation.protocol, grid))
    run(evaluation.cases, evaluation.system, evaluation.recogniser, folder, evaluation.workers, advance)
    rows, sources = load_rows(folder, evaluation.cases)
    data = frame(rows, sources, recogniser.threshold)
    groups = read_labels(evaluation.labels, list(sources))
    tables = make_tables(data, groups)
    if "realism" in evaluation.tables:
        for edit, row in realism_table(_realism(folder, data, evaluation.workers)).items():
            tables.setdefault("realism", {}).setdefault(edit, {}).update(row)
    metrics = {
        "system": evaluation.system.name,
        "protocol": evaluation.protocol,
        "photos": len({case.source for case in evaluation.cases}),
        "rows": len(data),
        "command": evaluation.command,
        "recogniser": {"name": recogniser.name, "threshold": recogniser.threshold, "licence": recogniser.licence},
        "groups": {name: len(photos) for name, photos in groups.items()},
        "zero": edits_of_zero(data),
        "notes": _notes(data, sources, recogniser),
        "tables": {name: table for name, table in tables.items() if name in evaluation.tables},
    }
    write_report(folder, data, metrics)
    return metrics


def _realism(folder: Path, data: pd.DataFrame, workers: int) -> dict[str, dict[str, float]]:
    """Realism by edit; driven pictures are one set."""
    made = data[[view_path(folder, name).is_file() for name in data["id"]]]
    driven = made["kind"].isin(("self", "cross"))
    sets = {"driven": made[driven]} if driven.any() else dict(list(made.groupby("edit", sort=False)))
    pairs = [list(zip(part["photo"], part["id"], strict=True)) for part in sets.values()]
    jobs = [RealismJob(str(edit), folder, part) for edit, part in zip(sets, pairs, strict=True)]
    results: dict[str, dict[str, float]] = dict(in_processes(_realism_of, jobs, workers))
    return {job.edit: results[job.edit] for job in jobs}


@dataclass(frozen=True)
class RealismJob:
    """The pictures of one edit: (source, row id) of each."""

    edit: str
    folder: Path
    pairs: list[tuple[str, str]]


def _realism_of(job: RealismJob) -> tuple[str, dict[str, float]]:
    return job.edit, realism_of_edit(job.folder, job.pairs)


def _notes(data: pd.DataFrame, sources: dict[str, Any], recogniser: Any) -> list[str]:
    notes = []
    if zero := edits_of_zero(data):
        notes.append(f"{zero['exact']} of {zero['n']} edits that ask for nothing returned the photo exactly.")
    if "error" in data and len(failed := data[data["error"].notna()]):
        reasons = failed["error"].value_counts()
        text = "; ".join(f"{count} x {reason}" for reason, count in list(reasons.items())[:5])
        notes.append(f"{len(failed)} of {len(data)} rows have no figures: {text}.")
    if len(sources) > 1:
        notes.append(
            f"Recogniser {recogniser.name} ({recogniser.licence}): published threshold {recogniser.threshold:.2f}; "
            f"1 % of the pairs of different people here reach {own_threshold(sources):.3f}."
        )
    if sources:
        fit = float(np.median([source["fit_error"] for source in sources.values()]))
        notes.append(f"The tracker's own fit leaves {fit:.2f} % of the inter-ocular distance on the sources (median).")
    networks = (("FID and KID", INCEPTION), ("LPIPS", VGG))
    return notes + [f"{name} {reason}." for name, file in networks if (reason := missing(file))]
