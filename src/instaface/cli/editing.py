"""``instaface edit``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from instaface.cli import console
from instaface.edit import Edit
from instaface.errors import InstaFaceError
from instaface.photo import FORMATS, READABLE_SUFFIXES, atomic_write, check_folder, check_output, read_photo

if TYPE_CHECKING:
    from instaface.editor import Editor, EditResult
    from instaface.photo import Photo
    from instaface.track import TrackedFace

SHEET_HEIGHT, SMALL_SHEET_HEIGHT = 768, 320  # pixels of one photo, and of one of several


@dataclass(frozen=True)
class Job:
    """What is done to each photo."""

    edit: Edit
    drive: Path | None
    drive_what: str
    face: str
    face_model: str
    renderer: str | None
    seed: int
    maps: Path | None
    model: str | None = None
    personal: str | None = None

    @property
    def editor(self) -> Editor:
        """The editor that does it."""
        driven = self.drive_what if self.drive else ""
        diffuses = console.may_diffuse(self.edit, self.renderer, self.face_model, self.model, driven)
        return console.editor(self.face_model, self.model, self.personal, diffuses)


@dataclass
class Outcome:
    """What became of one photo."""

    source: Path
    target: Path
    results: list[EditResult] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0


def run(job: Job, photos: list[Path], output: Path, sheet: Path | None, report: Path | None) -> None:
    """Edit all photos, then write sheet and report. One bad photo does not stop the others."""
    tasks = plan(photos, output)
    # What cannot be written is said before any work is done.
    if sheet:
        check_output(sheet)
    for path in (sheet, report):
        if path:
            check_folder(path)
    if job.maps:
        console.make_folder(job.maps)
    driver = _driver(job)
    outcomes = []
    with _progress(len(tasks), job) as advance:
        for source, target in tasks:
            advance(source)
            outcomes.append(_edit_one(job, source, target, driver, alone=len(tasks) == 1))
    if sheet:
        _write_sheet(outcomes, sheet)
    if report:
        _write_report(job, outcomes, report)
    _summarise(outcomes)


def plan(photos: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Pairs of photo and output file; an output folder is made where one is needed.

    Raises:
        InstaFaceError: there is nothing to do, or a photo would be overwritten.
    """
    sources = [photo for given in photos for photo in _photos_in(given)]
    into_folder = len(sources) > 1 or any(p.is_dir() for p in photos) or output.is_dir() or not output.suffix
    if not into_folder:
        tasks = [(sources[0], output)]
    else:
        console.make_folder(output)
        tasks = list(zip(sources, _targets(sources, output), strict=True))
    for source, target in tasks:
        if target.exists() and source.exists() and target.samefile(source):
            raise InstaFaceError(f"{target} is the photo itself and would be lost: choose another place with -o")
        check_folder(target)
        if target.suffix.lower() != source.suffix.lower():
            check_output(target)
    return tasks


def _photos_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in READABLE_SUFFIXES and not p.name.startswith("."))
    if not found:
        raise InstaFaceError(f"{path} has no photos: name a folder with {' '.join(sorted(READABLE_SUFFIXES))} files")
    return found


def _targets(sources: list[Path], folder: Path) -> Iterator[Path]:
    """A file for each photo, under its own name where the format can be written, else as PNG; no name twice."""
    taken: set[str] = set()
    for source in sources:
        suffix = source.suffix if source.suffix.lower() in FORMATS else ".png"
        name, k = source.stem + suffix, 1
        while name.lower() in taken:
            k += 1
            name = f"{source.stem}-{k}{suffix}"
        taken.add(name.lower())
        yield folder / name


def _driver(job: Job) -> TrackedFace | None:
    if job.drive is None:
        return None
    editor = job.editor
    from instaface.editor import choose

    with console.about(job.drive), console.working(f"Looking at {job.drive.name}"):
        return choose(editor.track(job.drive), "largest")[0]


def _edit_one(job: Job, source: Path, target: Path, driver: TrackedFace | None, alone: bool) -> Outcome:
    """Edit one photo; alone, its errors end the command."""
    outcome, start = Outcome(source, target), time.perf_counter()
    try:
        with console.about(source):
            outcome.results = _results(job, source, driver)
        outcome.results[-1].image.save(target)
        if job.maps:
            _write_maps(outcome, job.maps)
    except InstaFaceError as error:
        if alone:
            raise
        outcome.error = str(error)
    except Exception as error:  # a photo that trips the program does not stop the others either
        if alone:
            raise
        outcome.error = f"{source}: this should not have happened ({type(error).__name__}: {error}), please report it"
    outcome.seconds = time.perf_counter() - start
    return outcome


def _results(job: Job, source: Path, driver: TrackedFace | None) -> list[EditResult]:
    photo = read_photo(source)
    editor = job.editor
    from instaface.editor import choose

    with console.working("Finding the face"):
        faces = choose(editor.track(photo), job.face)
    with console.working("Editing"):
        return editor.edit_all(
            faces, job.edit, driver=driver, drive_what=job.drive_what, renderer=job.renderer, seed=job.seed
        )


@contextmanager
def _progress(total: int, job: Job) -> Iterator[Any]:
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if total == 1:
        yield lambda source: None
        return
    columns = (
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}"),
    )
    with Progress(*columns, console=console.err, transient=True) as bar:
        job.editor  # noqa: B018  (loaded before the clock of the first photo starts)
        task, done = bar.add_task("Editing", total=total, name=""), 0

        def advance(source: Path) -> None:
            nonlocal done
            bar.update(task, completed=done, name=source.name)
            done += 1

        yield advance


def _write_maps(outcome: Outcome, folder: Path) -> None:
    from instaface.cli.pictures import map_pictures, mark_picture
    from instaface.photo import write_made

    console.make_folder(folder)
    for result in outcome.results:
        coverage = (255 * result.coverage + 0.5).astype("uint8")[..., None].repeat(3, -1)
        pictures = {"draft": result.draft, "appearance": result.appearance, "coverage": coverage}
        pictures["marks"] = mark_picture(result.marks)
        for name, pixels in (pictures | map_pictures(result.maps)).items():
            write_made(pixels, folder / f"{outcome.target.stem}-{result.face.index}-{name}.png")


def _write_sheet(outcomes: list[Outcome], path: Path) -> None:
    from instaface.cli.pictures import sheet
    from instaface.photo import write_made

    done = [outcome for outcome in outcomes if outcome.results]
    if not done:
        return
    photos: list[tuple[str, Photo, Any]] = [
        (outcome.source.name, outcome.results[-1].image.original, outcome.results[-1].image.pixels) for outcome in done
    ]
    height = min(SHEET_HEIGHT, photos[0][1].height) if len(done) == 1 else SMALL_SHEET_HEIGHT
    rows = [[(name, photo.pixels), ("edited", pixels)] for name, photo, pixels in photos]
    icc = photos[0][1].icc if len(done) == 1 else None
    write_made(sheet(rows, height), path, icc)


def _write_report(job: Job, outcomes: list[Outcome], path: Path) -> None:
    from instaface.cli.report import describe_result, versions

    report = {
        "edit": job.edit.to_dict(),
        "drive": {"photo": str(job.drive), "what": job.drive_what} if job.drive else None,
        "versions": versions(),
        "photos": [
            {
                "photo": str(outcome.source),
                "output": None if outcome.error else str(outcome.target),
                "error": outcome.error,
                "seconds": round(outcome.seconds, 3),
                "faces": [describe_result(result) for result in outcome.results],
            }
            for outcome in outcomes
        ],
    }
    with atomic_write(path) as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())


def _summarise(outcomes: list[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in outcomes:
        if not outcome.error:
            console.out.print(f"{outcome.target}  {_what_happened(outcome)}", markup=False)
    if len(outcomes) == 1:
        return
    for outcome in failed:
        console.err.print(f"instaface: {outcome.error}", markup=False)
    edited = len(outcomes) - len(failed)
    console.out.print(f"{edited} of {len(outcomes)} photos edited" + (f", {len(failed)} failed" if failed else ""))
    if failed:
        raise typer.Exit(1)


def _what_happened(outcome: Outcome) -> str:
    parts = []
    for result in outcome.results:
        before, after = (p.head[0].tolist() for p in (result.face.parameters, result.parameters))
        angles = [
            f"{name} {a:+.0f} to {b:+.0f}"
            for name, a, b in zip(("yaw", "pitch", "roll"), before, after, strict=True)
            if abs(a - b) > 0.5
        ]
        parts.append(f"face {result.face.index}" + (f": {', '.join(angles)}" if angles else ""))
    return f"({'; '.join(parts)}; {outcome.seconds:.1f} s)"
