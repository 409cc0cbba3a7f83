"""Running cases over processes, each row kept in a file, so that a run goes on where it stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from instaface.errors import InstaFaceError
from instaface.evaluation.cases import ZERO, Case
from instaface.evaluation.systems import SystemOptions, open_system

ROWS, VIEWS = "rows", "views"
SETTINGS = "settings.json"
VIEW_QUALITY = 95  # of the stored JPEGs; photos and edits are stored alike, so that it favours neither
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

CRASH = "unexpected "  # how the error of a failure begins that is a fault of the program

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Job:
    """All cases of one source photo, done by one process: the source is tracked once."""

    cases: tuple[Case, ...]
    system: SystemOptions
    recognisers: tuple[str, ...]
    folder: Path


def run(
    cases: Sequence[Case],
    system: SystemOptions,
    recognisers: Sequence[str],
    folder: Path,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Make and measure all cases that have no row yet.

    Args:
        cases: what is asked.
        system: who is asked.
        recognisers: names of the face recognisers.
        folder: where rows and views are kept.
        workers: number of processes; 1 works in this one.
        advance: called with the number of cases done, as they are done.
    """
    for name in (ROWS, VIEWS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    waiting = [case for case in cases if not _is_done(row_path(folder, case.id))]
    advance(len(cases) - len(waiting))
    jobs = [Job(group, system, tuple(recognisers), folder) for group in _by_source(waiting)]
    for count in in_processes(evaluate_source, jobs, workers):
        advance(count)


def keep_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a run, or check that those of the rows already there are the same.

    Raises:
        InstaFaceError: the folder holds rows of another run.
    """
    path = folder / SETTINGS
    settings = json.loads(json.dumps(settings, default=str))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise InstaFaceError(f"{folder} holds a report with another {changed[0]}: give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _is_done(row: Path) -> bool:
    """Whether there is a row; those of a failure that nobody foresaw are made again."""
    return row.is_file() and CRASH not in row.read_text(encoding="utf-8")


def row_path(folder: Path, name: str) -> Path:
    """File of the row of a case, or of a source."""
    return folder / ROWS / f"{name}.json"


def view_path(folder: Path, name: str) -> Path:
    """Stored view of a case's picture, or of a source."""
    return folder / VIEWS / f"{name}.jpg"


def invented_path(folder: Path, name: str) -> Path:
    """Stored mask of what was invented in a case's view."""
    return folder / VIEWS / f"{name}.mask.png"


def load_rows(folder: Path, cases: Sequence[Case]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The rows of the cases, and those of their sources by name."""
    rows = [json.loads(row_path(folder, case.id).read_text(encoding="utf-8")) for case in cases]
    names = {case.source for case in cases}
    paths = {name: row_path(folder, name) for name in names}
    sources = {name: json.loads(p.read_text(encoding="utf-8")) for name, p in paths.items() if p.is_file()}
    return rows, sources


def evaluate_source(job: Job) -> int:
    """Track a source, make and measure its cases, write their rows; returns how many."""
    try:
        source = _judged(job.cases[0].photo, job.recognisers)
    except Exception as error:
        for case in job.cases:
            _write(job.folder, case, {"error": f"source: {_reason(error)}"})
        return len(job.cases)
    _write_source(job, source)
    for case in job.cases:
        try:
            row = evaluate_case(case, source, job)
        except Exception as error:  # one picture must not end a run of hours; the report counts it
            row = {"error": _reason(error)}
        _write(job.folder, case, row)
    return len(job.cases)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InstaFaceError) else f"{CRASH}{type(error).__name__}: {error}"


def evaluate_case(case: Case, source: Any, job: Job) -> dict[str, Any]:
    """The row of one case; ``source`` is the judged source."""
    from instaface.edit.apply import apply
    from instaface.edit.drive import drive
    from instaface.evaluation import measure

    model, recognisers = face_model(), [_recogniser(name) for name in job.recognisers]
    driver = _judged(case.driver, job.recognisers) if case.driver else None
    parameters = source.face.parameters
    if driver:
        target = drive(parameters, driver.face.parameters)
    else:
        target = apply(case.edit, parameters, model)  # type: ignore[arg-type]
    output = open_system(job.system).render(source.face, case, target)
    _write_views(job.folder, case, source.face, output.pixels, _invented(case, target, output.coverage, job))

    row: dict[str, Any] = {"seconds": output.seconds, "memory_mib": _peak_memory()}
    row["processor_seconds"] = output.processor_seconds
    if np.array_equal(output.pixels, source.face.photo.pixels):
        edit = source
    elif (edited := _tracked_like(source.face, output.pixels)) is not None:
        edit = measure.judge(edited, model, recognisers)
    else:
        return row | {"error": "no face found in the edit", "lost": 1.0}
    row["lost"] = 0.0
    row["embeddings"] = {name: embedding.tolist() for name, embedding in edit.embeddings.items()}
    row |= measure.control_figures(source, edit, target)
    row |= measure.picture_figures(source, edit, output.pixels, case.kind)
    if driver and case.truth:
        row |= measure.truth_figures(edit, driver, recognisers[0])
    return row


def _by_source(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.source, []).append(case)
    return [tuple(group) for group in groups.values()]


def in_processes(function: Callable[[J], R], jobs: Sequence[J], workers: int) -> Iterator[R]:
    """Results as they come, each process with one thread; one worker works in this process, in order."""
    if workers <= 1 or len(jobs) < 2:
        yield from map(function, jobs)
        return
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # one thread a process; read when the libraries load
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _one_thread) as pool:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@lru_cache(maxsize=1)
def face_model() -> Any:
    """The face model of the tracker."""
    from instaface.face import OpenHead

    return OpenHead.load("numpy")


@lru_cache(maxsize=2)
def _recogniser(name: str) -> Any:
    from instaface.recognise import load_recogniser

    return load_recogniser(name)


def _invented(case: Case, target: Any, coverage: Any, job: Job) -> Any:
    """(h, w) bool over the face's frame: what the camera never saw of what the edit shows.

    It follows from the edit, not from who made the picture: it is the same for every system.
    """
    from instaface.draft import draft

    if coverage is None:
        face = _judged(case.photo, job.recognisers).face
        coverage = draft(face, target, face_model(), _scene(case.photo, job.recognisers)).coverage
    return coverage == 0


@lru_cache(maxsize=1)
def _scene(photo: Path, recognisers: tuple[str, ...]) -> Any:
    """The photo taken apart, for edits that were not made here."""
    from instaface.draft import take_apart

    return take_apart(_judged(photo, recognisers).face, face_model())


@lru_cache(maxsize=32)
def _judged(photo: Path, recognisers: tuple[str, ...]) -> Any:
    """The largest face of a photo with what the judges say."""
    from instaface.evaluation.measure import judge
    from instaface.photo import read_photo
    from instaface.track import track

    faces = track(read_photo(photo))
    if not faces:
        raise InstaFaceError(f"{photo} shows no face")
    return judge(faces[0], face_model(), [_recogniser(name) for name in recognisers])


def _tracked_like(source: Any, pixels: Any) -> Any:
    """The face of an edited picture that lies where the source's was, or None."""
    from instaface.photo import Photo
    from instaface.track import track

    faces = track(Photo(pixels, focal=source.photo.focal), quick=True)  # light is judged by the picture
    x0, y0, x1, y1 = source.box

    def distance(face: Any) -> float:
        a0, b0, a1, b1 = face.box
        return float(np.hypot((a0 + a1 - x0 - x1) / 2, (b0 + b1 - y0 - y1) / 2))

    nearest = min(faces, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < 0.5 * max(x1 - x0, y1 - y0) else None


def _write(folder: Path, case: Case, row: dict[str, Any]) -> None:
    head = {"id": case.id, "photo": case.source, "edit": case.name, "kind": case.kind}
    _write_json(row_path(folder, case.id), head | row)


def _write_source(job: Job, source: Any) -> None:
    from instaface.evaluation.regions import view

    case, face = job.cases[0], source.face
    _write_jpeg(view_path(job.folder, case.source), view(face.photo.pixels, face.frame))
    row = {
        "photo": case.source,
        "file": str(case.photo),
        "embeddings": {name: embedding.tolist() for name, embedding in source.embeddings.items()},
        "fit_error": face.fit_error,
        "head": face.parameters.head[0].tolist(),
        "track_seconds": sum(face.timings.values()),
    }
    _write_json(row_path(job.folder, case.source), row)


def _write_views(folder: Path, case: Case, face: Any, pixels: Any, invented: Any) -> None:
    import cv2

    from instaface.evaluation.regions import view

    picture = view(pixels, face.frame)
    if case.name != ZERO:
        _write_jpeg(view_path(folder, case.id), picture)
    if invented.any():
        size = picture.shape[1::-1]
        mask = cv2.resize(invented.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(invented_path(folder, case.id)), 255 * mask)


def _write_jpeg(path: Path, pixels: Any) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, quality=VIEW_QUALITY, subsampling=0)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values), encoding="utf-8")
    temporary.replace(path)


def _peak_memory() -> float:
    """Peak resident memory of this process in MiB; NaN where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def settings_of(
    system: SystemOptions, recognisers: Sequence[str], protocol: str, grid: dict[str, Any]
) -> dict[str, Any]:
    """What must agree for rows to belong to one report."""
    return {"system": asdict(system), "recognisers": list(recognisers), "protocol": protocol, "edits": grid}
