"""A whole evaluation: run, sum up, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from instaface.edit import Edit
from instaface.errors import InstaFaceError
from instaface.evaluation.cases import Case, turn_sizes
from instaface.evaluation.inception import INCEPTION, VGG, missing
from instaface.evaluation.pose import known_turns
from instaface.evaluation.realism import RealismJob, realism_of, realism_table
from instaface.evaluation.report import write_report
from instaface.evaluation.run import CRASH, in_processes, keep_settings, load_rows, run, settings_of, view_path
from instaface.evaluation.systems import SystemOptions
from instaface.evaluation.tables import by_size, edits_of_zero, frame, make_tables, own_threshold, read_labels
from instaface.recognise import FaceRecogniser, load_recogniser

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate and how.

    Attributes:
        cases: the pictures that are asked for.
        protocol: "edits", "self-reenactment" or "cross-reenactment".
        tables: names of the tables to report.
        system: who makes the pictures.
        grid: edits by name, kept in the settings.
        recognisers: names of the face recognisers; the first one's figures stand first.
        labels: CSV with a column ``file`` and columns of groups.
        workers: processes.
        command: the command line, for the report.
    """

    cases: Sequence[Case]
    protocol: str
    tables: Sequence[str]
    system: SystemOptions = field(default_factory=SystemOptions)
    grid: dict[str, Edit] = field(default_factory=dict)
    recognisers: tuple[str, ...] = ("dlib",)
    labels: Path | None = None
    workers: int = 1
    command: str = ""


def evaluate(evaluation: Evaluation, folder: Path, advance: Advance = lambda count: None) -> dict[str, Any]:
    """Run what has not been run yet and write the report; returns what ``metrics.json`` holds.

    Raises:
        InstaFaceError: the recogniser or the model is not there, or the folder holds another evaluation.
    """
    system = evaluation.system
    system.check()
    recognisers = [load_recogniser(name) for name in evaluation.recognisers]
    grid = {name: edit.to_dict() for name, edit in evaluation.grid.items()}
    keep_settings(folder, settings_of(system, evaluation.recognisers, evaluation.protocol, grid))
    run(evaluation.cases, system, evaluation.recognisers, folder, evaluation.workers, advance)
    rows, sources = load_rows(folder, evaluation.cases)
    data = frame(rows, sources, {recogniser.name: recogniser.threshold for recogniser in recognisers})
    groups = read_labels(evaluation.labels, list(sources))
    tables = make_tables(data, groups)
    if "realism" in evaluation.tables:
        for edit, row in realism_table(_realism(folder, data, groups, evaluation.workers)).items():
            tables.setdefault("realism", {}).setdefault(edit, {}).update(row)
    model = system.describe()
    metrics = {
        "system": system.name,
        "protocol": evaluation.protocol,
        "photos": len({case.source for case in evaluation.cases}),
        "rows": len(data),
        "command": evaluation.command,
        "recognisers": [{"name": r.name, "threshold": r.threshold, "licence": r.licence} for r in recognisers],
        "model": model,
        "groups": {name: len(photos) for name, photos in groups.items()},
        "zero": edits_of_zero(data),
        "notes": _notes(data, sources, recognisers, model),
        "judges": known_turns() if "control" in evaluation.tables else {},
        "tables": {name: table for name, table in tables.items() if name in evaluation.tables},
        "by_size": by_size(data, groups, turn_sizes(evaluation.grid)) if groups else {},
    }
    write_report(folder, data, metrics)
    return metrics


def before_and_after(
    evaluation: Evaluation,
    folder: Path,
    learn: Callable[[Path, Path], object],
    advance: Advance = lambda count: None,
) -> tuple[Path, Path]:
    """Measure a model before and after it was tuned on each source photo alone; returns the two reports.

    Args:
        evaluation: of the model without adapters.
        folder: of the two reports ``before`` and ``after`` and of the ``adapters``; those already there are kept.
        learn: writes the adapter of (photo, file); where it finds no face the photo's rows say so.
        advance: called with the number of photos learned and edits made, as they are done.
    """
    evaluation.system.check()
    adapters = folder / "adapters"
    adapters.mkdir(parents=True, exist_ok=True)
    for source, photo in {case.source: case.photo for case in evaluation.cases}.items():
        adapter = adapters / f"{source}.safetensors"
        if not adapter.is_file():
            unfinished = adapter.with_suffix(".unfinished")
            try:
                learn(photo, unfinished)
            except InstaFaceError:
                continue
            finally:
                advance(1)
            unfinished.replace(adapter)
        else:
            advance(1)
    after = replace(evaluation, system=replace(evaluation.system, personal=adapters))
    evaluate(evaluation, folder / "before", advance)
    evaluate(after, folder / "after", advance)
    return folder / "before", folder / "after"


def _realism(
    folder: Path, data: pd.DataFrame, groups: dict[str, list[str]], workers: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Realism by edit; driven pictures are one set."""
    made = data[[view_path(folder, name).is_file() for name in data["id"]]]
    driven = made["kind"].isin(("self", "cross"))
    sets = {"driven": made[driven]} if driven.any() else dict(list(made.groupby("edit", sort=False)))
    pairs = [tuple(zip(part["photo"], part["id"], strict=True)) for part in sets.values()]
    jobs = [RealismJob(str(edit), folder, part, groups) for edit, part in zip(sets, pairs, strict=True)]
    results = dict(in_processes(realism_of, jobs, workers))
    return {job.edit: results[job.edit] for job in jobs}


def _notes(
    data: pd.DataFrame, sources: dict[str, Any], recognisers: Sequence[FaceRecogniser], model: dict[str, Any]
) -> list[str]:
    notes = []
    if zero := edits_of_zero(data):
        notes.append(f"{zero['exact']} of {zero['n']} edits that ask for nothing returned the photo exactly.")
    if "error" in data and len(failed := data[data["error"].notna()]):
        reasons = failed["error"].value_counts()
        text = "; ".join(f"{count} x {reason}" for reason, count in list(reasons.items())[:5])
        notes.append(f"{len(failed)} of {len(data)} rows have no figures: {text}.")
        if failed["error"].str.contains(CRASH).any():
            notes.append("Some of these are faults of the program; the same command tries them again.")
    for recogniser in recognisers if len(sources) > 1 else ():
        notes.append(
            f"Recogniser {recogniser.name} ({recogniser.licence}): published threshold {recogniser.threshold:.2f}; "
            f"1 % of the pairs of different people here reach {own_threshold(sources, recogniser.name):.3f}."
        )
    if model:
        trained = model["recogniser"]
        notes.append(f"Model {model['path']}: {model['size']} pixels, {model['steps']} steps. {_trained_with(trained)}")
    if sources:
        fit = float(np.median([source["fit_error"] for source in sources.values()]))
        notes.append(f"The tracker's own fit leaves {fit:.2f} % of the inter-ocular distance on the sources (median).")
    networks = (("FID and KID", INCEPTION), ("LPIPS", VGG))
    return notes + [f"{name} {reason}." for name, file in networks if (reason := missing(file))]


def _trained_with(recogniser: str) -> str:
    return (
        f"It was trained with {recogniser}, whose embedding it is also given: similarity by {recogniser} is what it "
        "learned, and only another recogniser judges it independently."
    )
