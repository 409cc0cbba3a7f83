"""The commands ``evaluate`` and ``sheet``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instaface.cli.options import FaceModel, FaceModels
from instaface.errors import InstaFaceError

if TYPE_CHECKING:
    from instaface.edit import Edit
    from instaface.evaluation.cases import Case
    from instaface.evaluation.evaluate import Evaluation

EDITS_PROTOCOLS = ("control", "identity", "preservation", "realism", "speed")
DRIVEN_PROTOCOLS = ("self-reenactment", "cross-reenactment")
PERSONALISATION = "personalisation"
DRIVEN_TABLES = ("control", "identity", "preservation", "realism", "reenactment", "speed")

Renderer = Annotated[str, typer.Option(help="Who edits; see [b]instaface edit[/b]; [b]default[/b]: as it chooses.")]
Grid = Annotated[
    str,
    typer.Option("--edits", metavar="GRID", help="[b]default[/b] (12 edits), [b]control[/b] (30), or a YAML file."),
]
Limit = Annotated[int | None, typer.Option(help="At most so many photos, evenly spread.", min=1)]
Every = Annotated[int, typer.Option(help="Of each folder only every n-th photo, the first one included.", min=1)]
Model = Annotated[str | None, typer.Option(metavar="PATH", help="Folder or hub id of the diffusion renderer's model.")]
Personal = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="LoRA file for it, or a folder with one for each photo: SOURCE.safetensors."),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Processes.", min=1)]


def evaluate(
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos, or folders.", show_default=False)] = None,
    report: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The report.")] = Path("report"),
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Any of {', '.join(EDITS_PROTOCOLS)} (default: all of these), or one of "
            f"{', '.join(DRIVEN_PROTOCOLS)}; with [b]{PERSONALISATION}[/b] before and after tuning on each photo.",
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
    model: Model = None,
    personal: Personal = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help=f"Training options of [b]{PERSONALISATION}[/b].")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help=f"Updates of [b]{PERSONALISATION}[/b]; by default the config's.", min=1)
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Score these pictures of another tool: SOURCE__EDIT.png, or manifest.csv."),
    ] = None,
    recogniser: Annotated[
        list[str] | None,
        typer.Option(
            help="[b]dlib[/b] (default), [b]arcface[/b] or [b]mobilenet[/b], whose weights you add; repeatable.",
            show_default=False,
        ),
    ] = None,
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

    instaface evaluate photos/ -o tuned --protocol personalisation --renderer diffusion --model models/mini --config
    configs/mini.yaml
    """
    _needs_extra()
    from instaface.evaluation.evaluate import Evaluation
    from instaface.evaluation.evaluate import evaluate as run
    from instaface.evaluation.systems import SystemOptions

    if not photos:
        raise InstaFaceError("nothing to evaluate: give photos, or reports with --compare")
    if compare:
        _compare(photos, report, jobs)
        return
    protocols = _protocols(protocol)
    command = shlex.join(["instaface", *sys.argv[1:]])
    asked, name, tables, grid = _asked(photos, report, protocols, edits, every, limit)
    system = SystemOptions(renderer, outputs, face_model.value, model, personal)
    evaluation = Evaluation(
        asked, name, tables, system, grid, tuple(dict.fromkeys(recogniser or ["dlib"])), labels, jobs, command
    )
    if PERSONALISATION in protocols:
        _before_and_after(evaluation, report, config, steps)
        return
    with _progress(len(asked), "edits") as advance:
        run(evaluation, report, advance)
    typer.echo(f"{report / 'report.html'}\n{report / 'report.md'}")


def _compare(reports: list[Path], folder: Path, jobs: int) -> None:
    from instaface.evaluation.compare import compare

    compare(reports, folder, jobs)
    typer.echo(f"{folder / 'comparison.html'}\n{folder / 'blind.html'}")


def _before_and_after(evaluation: Evaluation, report: Path, config: Path | None, steps: int | None) -> None:
    """Tunes on each photo, measures before and after, and puts the two side by side."""
    from instaface.evaluation.evaluate import before_and_after
    from instaface.training.config import load_config
    from instaface.training.personalize import personalize

    system = evaluation.system
    if system.outputs or system.personal or system.renderer != "diffusion" or system.model is None or config is None:
        raise InstaFaceError(
            f"protocol {PERSONALISATION} tunes a model: give --renderer diffusion, --model PATH and --config FILE.yaml"
        )
    options = load_config(config, {} if steps is None else {"personalize.steps": steps})
    if options.personalize is None:
        raise InstaFaceError(f"config {config} has no section 'personalize'")

    def learn(photo: Path, adapter: Path) -> None:
        personalize(photo, adapter, Path(str(system.model)), options, face_model=system.face_model)

    photos = len({case.source for case in evaluation.cases})
    with _progress(photos + 2 * len(evaluation.cases), "photos and edits") as advance:
        reports = before_and_after(evaluation, report, learn, advance)
    _compare(list(reports), report, evaluation.workers)


def _asked(
    photos: list[Path], report: Path, protocols: tuple[str, ...], edits: str, every: int, limit: int | None
) -> tuple[list[Case], str, tuple[str, ...], dict[str, Edit]]:
    """Cases, name of the protocol, its tables and grid."""
    from instaface.evaluation import cases

    if "self-reenactment" in protocols:
        folders = [
            cases.video_frames(p, report / "frames") if p.suffix.lower() in cases.VIDEO_SUFFIXES else p
            for p in cases.spread(photos, limit)
        ]
        return cases.self_cases(folders), "self-reenactment", DRIVEN_TABLES, {}
    found = cases.find_photos(photos, limit, every)
    if "cross-reenactment" in protocols:
        return cases.cross_cases(found), "cross-reenactment", DRIVEN_TABLES, {}
    grid = cases.load_grid(edits)
    tables = tuple(name for name in protocols if name != PERSONALISATION) or EDITS_PROTOCOLS
    return cases.edit_cases(found, grid), "edits", tables, grid


def sheet(
    photos: Annotated[list[Path], typer.Argument(help="Photos, folders, or the folder with the development data.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")] = Path("sheet.jpg"),
    edits: Grid = "default",
    limit: Limit = None,
    renderer: Renderer = "geometric",
    face_model: FaceModel = FaceModels.openhead,
    model: Model = None,
    personal: Personal = None,
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
    system = SystemOptions(renderer, None, face_model.value, model, personal)
    system.check()
    with _progress(len(chosen), "photos") as advance:
        make_sheet(chosen, load_grid(edits), system, output, jobs, advance)
    typer.echo(str(output))


def _protocols(names: list[str] | None) -> tuple[str, ...]:
    from instaface.cli.app import WrongUsage

    allowed = (*EDITS_PROTOCOLS, *DRIVEN_PROTOCOLS, PERSONALISATION)
    chosen = tuple(dict.fromkeys(names or EDITS_PROTOCOLS))
    for name in chosen:
        if name not in allowed:
            raise WrongUsage(f"protocol: unknown name {name!r}, allowed are {', '.join(allowed)}")
    if set(chosen) & set(DRIVEN_PROTOCOLS) and len(set(chosen) - {PERSONALISATION}) > 1:
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
