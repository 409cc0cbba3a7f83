"""From photos to a dataset: track, align, track again, embed, pack."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from instaface.errors import InstaFaceError
from instaface.photo import Photo, read_photo
from instaface.recognise import load_recogniser
from instaface.track import TrackedFace, track
from instaface.track.models import FACE_MODELS
from instaface.track.models import face_model as load_face_model
from instaface.training.align import crop_ffhq
from instaface.training.pictures import SUFFIXES, is_held_out
from instaface.training.shards import SPLIT, TRAINING, VALIDATION, Prepared, pack, write_index, write_shard

Item = TypeVar("Item")
Packed = list[tuple[str, dict[str, bytes]]]  # key and files by suffix, of each face

MAX_OUTSIDE = 0.2  # share of the aligned picture that may lie outside of the photo
MIN_FACE = 0.25  # sides of the face's box over that of the aligned picture, below which it is too small to learn from


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not in the dataset, and why."""

    path: Path
    reason: str


def prepare_photo(
    path: Path,
    size: int,
    recognisers: Sequence[str],
    labels: Mapping[str, str] | None = None,
    face_model: str = FACE_MODELS[0],
    name: str | None = None,
) -> Packed | LeftOut:
    """One photo's faces as files; a pure function of the photo, so that any engine can map it.

    Args:
        path: a photo.
        size: side of the aligned pictures.
        recognisers: whose embeddings are stored.
        labels: what is known of the photo.
        face_model: whose parameters are stored.
        name: of the photo in the dataset, by default the file's without its suffix.

    Returns:
        (key, files by suffix) of each face, or the reason why there is none.
    """
    try:
        photo = read_photo(path)
        find = load_face_model(face_model)[1]
        name = name or path.stem
        # The faces are measured in their crops: of the photo only the landmarks count.
        faces = track(photo, quick=True)
        found = [_prepare_face(face, name, size, recognisers, labels or {}, find) for face in faces]
    except InstaFaceError as error:
        return LeftOut(path, str(error))
    kept = [face for face in found if isinstance(face, Prepared)]
    if kept:
        return [(face.key, pack(face)) for face in kept]
    return LeftOut(path, str(found[0]) if found else "no face found")


def _prepare_face(
    face: TrackedFace,
    stem: str,
    size: int,
    recognisers: Sequence[str],
    labels: Mapping[str, str],
    find: Callable[..., list[TrackedFace]],
) -> Prepared | str:
    """A face, aligned and tracked anew in the aligned picture; or why it cannot be used."""
    index = face.index
    shape = face.landmarks.max(0) - face.landmarks.min(0)
    if max(shape) < MIN_FACE * size / 2:
        return f"face {index} is too small: {max(shape):.0f} pixels, needed are {MIN_FACE * size / 2:.0f}"
    pixels, outside = crop_ffhq(face.photo.pixels, face.landmarks, size)
    if outside > MAX_OUTSIDE:
        return f"face {index} is too close to the border: {outside:.0%} of its crop lies outside"
    again = find(Photo(pixels), faces=1)
    if not again:
        return f"face {index} is not found any more in its crop"
    embeddings = {name: load_recogniser(name).embed_face(pixels, again[0].landmarks) for name in recognisers}
    key = stem.replace(".", "-") + (f"-{index}" if index else "")
    return Prepared(key, again[0], embeddings, dict(labels))


def prepare(
    photos: Path,
    output: Path,
    size: int = 512,
    recognisers: Sequence[str] = ("dlib",),
    labels: Path | None = None,
    shard_size: int = 500,
    jobs: int = 0,
    face_model: str = FACE_MODELS[0],
) -> int:
    """Prepares a folder of photos, in parallel; a run that was stopped goes on with the shards that are missing.

    Args:
        photos: folder of photos; photos in a subfolder get its name as the label ``person``, and those of one person
            become training pairs.
        output: folder of the dataset.
        size: side of the aligned pictures.
        recognisers: whose embeddings are stored.
        labels: CSV with a column ``file`` and any others, which are stored with the faces. A column ``split`` says of
            each photo whether it is for ``training`` or ``validation``; without it every 18th is for validation.
        shard_size: photos in one shard.
        jobs: processes, 0 for all cores.
        face_model: "openhead", or "flame" from the user's files.

    Returns:
        Number of faces in the dataset.

    Raises:
        InstaFaceError: no photos, a folder that cannot be used, or a face model without its files.
    """
    load_face_model(face_model)  # missing files are said at once
    if not photos.is_dir():
        raise InstaFaceError(f"{photos}: no such folder")
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InstaFaceError(f"{photos}: no photo in it ({', '.join(SUFFIXES)})")
    known = _labels(labels)
    items = [
        (
            path,
            "-".join(path.relative_to(photos).with_suffix("").parts),
            _split(number) | _person(path, photos) | known.get(path.name, {}),
        )
        for number, path in enumerate(files)
    ]
    run_in_shards(items, partial(_prepare_item, size, tuple(recognisers), face_model), output, shard_size, jobs)
    return write_index(output)


def _split(number: int) -> dict[str, str]:
    """By the place among the photos, not among those whose face was found: what is left out moves nobody."""
    return {SPLIT: VALIDATION if is_held_out(number) else TRAINING}


def _person(path: Path, photos: Path) -> dict[str, str]:
    return {} if path.parent == photos else {"person": "/".join(path.parent.relative_to(photos).parts)}


def _prepare_item(
    size: int, recognisers: tuple[str, ...], face_model: str, item: tuple[Path, str, dict[str, str]]
) -> Packed | LeftOut:
    path, name, labels = item
    return prepare_photo(path, size, recognisers, labels, face_model, name)


def run_in_shards(
    items: Sequence[Item], function: Callable[[Item], Packed | LeftOut], output: Path, shard_size: int, jobs: int
) -> None:
    """Writes what ``function`` makes of each item, in parallel; shards that are there are not made again.

    Args:
        items: what is mapped, in an order that does not change.
        function: makes the files of an item, or says why there are none; runs in other processes.
        output: folder of the shards, and of a list of what was left out beside each.
        shard_size: items in one shard.
        jobs: processes, 0 for all cores; 1 works in this one.
    """
    output.mkdir(parents=True, exist_ok=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    jobs = jobs or os.cpu_count() or 1
    with (
        _pool(jobs) if jobs > 1 else nullcontext() as pool,
        Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("", total=len(items), note="")
        for number, first in enumerate(range(0, len(items), shard_size)):
            shard, part = output / f"{number:05}.tar", items[first : first + shard_size]
            if not shard.exists():
                left_out: list[LeftOut] = []
                results = pool.map(function, part) if pool else map(function, part)
                write_shard(shard, _packed(results, left_out, lambda: progress.advance(task)))
                reasons = "".join(f"{item.path}\t{item.reason}\n" for item in left_out)
                shard.with_suffix(".left_out.tsv").write_text(reasons, encoding="utf-8")
            progress.update(task, completed=first + len(part), note=shard.name)


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that begin afresh: a copy of this one could inherit locks that its libraries' threads hold."""
    return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


def _packed(
    results: Iterable[Packed | LeftOut], left_out: list[LeftOut], advance: Callable[[], None]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for result in results:
        advance()
        if isinstance(result, LeftOut):
            left_out.append(result)
        else:
            yield from result


def _labels(path: Path | None) -> dict[str, dict[str, str]]:
    if path is None:
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "file" not in rows[0]:
        raise InstaFaceError(f"labels {path}: a column named file is needed")
    return {row.pop("file"): row for row in rows}
