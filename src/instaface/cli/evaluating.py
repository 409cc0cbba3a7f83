"""The commands ``evaluate`` and ``sheet``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from instaface.cli.options import FaceModel, FaceModels
from instaface.errors import InstaFaceError

EDITS_PROTOCOLS = ("control", "identity", "preservation", "realism", "speed")
DRIVEN_PROTOCOLS = ("self-reenactment", "cross-reenactment")
DRIVEN_TABLES = ("control", "identity", "preservation", "realism", "reenactment", "speed")

Renderer = Annotated[str, typer.Option(help="Who edits; see [b]instaface edit[/b].")]
Grid = Annotated[
    str,
    typer.Option("--edits", metavar="GRID", help="[b]default[/b] (12 edits), [b]control[/b] (30), or a YAML file."),
]
Limit = Annotated[int | None, typer.Option(help="At most so many photos, evenly spread.", min=1)]
Every = Annotated[int, typer.Option(help="Of each folder only every n-th photo, the first one included.", min=1)]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Processes.", min=1)]


def evaluate(
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos, or folders.", show_default=False)] = None,
    report: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The report.")] = Path("report"),
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Any of {', '.join(EDITS_PROTOCOLS)} (default: all of these), or one of "
            f"{', '.join(DRIVEN_PROTOCOLS)}.",
            show_default=False,
        ),
    ] = None,
    edits: Grid = "default",
    every: Every = 1,
    limit: Limit = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Groups: a column [b]file[/b], and any others.")
    ] = None,
    renderer: Renderer = "geometric",
    face_model: FaceModel = FaceModels.openhead,
    outputs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Score these pictures of another tool: SOURCE__EDIT.png, or manifest.csv."),
    ] = None,
    recogniser: Annotated[str, typer.Option(help="[b]dlib[/b], or [b]arcface[/b] (non-commercial weights).")] = "dlib",
    compare: Annotated[
        bool, typer.Option("--compare", help="The arguments are reports: put them side by side.")
    ] = False,
    jobs: Jobs = os.cpu_count() or 1,
) -> None:
    """Measure how good edits are.

    Writes report.md, report.html, metrics.json and metrics.csv (a row an edit). A run that was stopped goes on where
    it was. Self-reenactment takes folders of frames, or videos, of one person each.

    [b]Examples[/b]

    instaface evaluate photos/ -o report

    instaface evaluate photos/ -o rival --outputs pictures-of-another-tool/

    instaface evaluate --compare report rival -o comparison

    instaface evaluate clips/*.mp4 -o reenacted --protocol self-reenactment
    """
    _needs_extra()
    if not photos:
        raise InstaFaceError("nothing to evaluate: give photos, or reports with --compare")
    if compare:
        from instaface.evaluation.compare import compare as compare_reports

        compare_reports(photos, report)
        typer.echo(f"{report / 'comparison.html'}\n{report / 'blind.html'}")
        return
    _evaluate(
        photos,
        report,
        _protocols(protocol),
        edits,
        every,
        limit,
        labels,
        renderer,
        outputs,
        face_model.value,
        recogniser,
        jobs,
    )
    typer.echo(f"{report / 'report.html'}\n{report / 'report.md'}")


def _evaluate(
    photos: list[Path],
    report: Path,
    protocols: tuple[str, ...],
    edits: str,
    every: int,
    limit: int | None,
    labels: Path | None,
    renderer: str,
    outputs: Path | None,
    face_model: str,
    recogniser: str,
    jobs: int,
) -> None:
    from instaface.evaluation import cases
    from instaface.evaluation.evaluate import Evaluation
    from instaface.evaluation.evaluate import evaluate as run
    from instaface.evaluation.systems import SystemOptions

    grid = {}
    tables: tuple[str, ...]
    if protocols == ("self-reenactment",):
        folders = [
            cases.video_frames(p, report / "frames") if p.suffix.lower() in cases.VIDEO_SUFFIXES else p
            for p in cases.spread(photos, limit)
        ]
        asked, name, tables = cases.self_cases(folders), protocols[0], DRIVEN_TABLES
    elif protocols == ("cross-reenactment",):
        asked, name, tables = cases.cross_cases(cases.find_photos(photos, limit, every)), protocols[0], DRIVEN_TABLES
    else:
        grid = cases.load_grid(edits)
        asked, name, tables = cases.edit_cases(cases.find_photos(photos, limit, every), grid), "edits", protocols
    command = shlex.join(["instaface", *sys.argv[1:]])
    system = SystemOptions(renderer, outputs, face_model)
    evaluation = Evaluation(asked, name, tables, system, grid, recogniser, labels, jobs, command)
    with _progress(len(asked), "edits") as advance:
        run(evaluation, report, advance)


def sheet(
    photos: Annotated[list[Path], typer.Argument(help="Photos, folders, or the folder with the development data.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")] = Path("sheet.jpg"),
    edits: Grid = "default",
    limit: Limit = None,
    renderer: Renderer = "geometric",
    face_model: FaceModel = FaceModels.openhead,
    jobs: Jobs = os.cpu_count() or 1,
) -> None:
    """One picture of many edits: a row a photo, to look at after every change.

    Of a folder that holds [b]faces[/b] and [b]real[/b] it takes fixed faces and all real photos.
    """
    _needs_extra()
    from instaface.evaluation.cases import load_grid, spread
    from instaface.evaluation.look import fixed_photos, make_sheet
    from instaface.evaluation.systems import SystemOptions

    chosen = spread(fixed_photos(photos), limit)
    with _progress(len(chosen), "photos") as advance:
        make_sheet(
            chosen, load_grid(edits), SystemOptions(renderer, face_model=face_model.value), output, jobs, advance
        )
    typer.echo(str(output))


def _protocols(names: list[str] | None) -> tuple[str, ...]:
    from instaface.cli.app import WrongUsage

    chosen = tuple(dict.fromkeys(names or EDITS_PROTOCOLS))
    for name in chosen:
        if name not in (*EDITS_PROTOCOLS, *DRIVEN_PROTOCOLS):
            known = ", ".join((*EDITS_PROTOCOLS, *DRIVEN_PROTOCOLS))
            raise WrongUsage(f"protocol: unknown name {name!r}, allowed are {known}")
    if len(chosen) > 1 and set(chosen) & set(DRIVEN_PROTOCOLS):
        raise WrongUsage(f"protocol: {' and '.join(DRIVEN_PROTOCOLS)} stand alone, run each by itself")
    return chosen


def _needs_extra() -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("pandas", "sklearn", "matplotlib")):
        raise InstaFaceError("evaluation needs further packages: pip install 'instaface[eval]'")


@contextmanager
def _progress(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(unit, total=total)
        yield lambda count: progress.advance(task, count)
