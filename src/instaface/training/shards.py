"""Prepared photos on disk: tar files in WebDataset's naming, and an index that says where each file lies.

Tar was chosen over Parquet: a shard is written and read as a stream, photos stay the JPEG files that they are, every
tool opens it; with the index any photo is one seek away, so that the k-th draw of a run can be any photo.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from instaface.errors import InstaFaceError
from instaface.face import Camera, FaceParameters
from instaface.photo import Photo
from instaface.track import Frame, Matte, TrackedFace

JPEG_QUALITY = 95
SPLIT, TRAINING, VALIDATION = "split", "training", "validation"  # the label that says what a face is for


@dataclass(frozen=True)
class Prepared:
    """One face, ready for training.

    Attributes:
        key: name, without dots.
        face: the aligned picture as a photo of its own, tracked.
        embeddings: recogniser to (D,) float32.
        labels: what a table said of the photo: name to value.
    """

    key: str
    face: TrackedFace
    embeddings: dict[str, NDArray[np.float32]]
    labels: dict[str, str]


def pack(prepared: Prepared) -> dict[str, bytes]:
    """Files of one face: ``jpg``, ``npz`` (numbers), ``matte.png`` (person, hair, clothes), ``json`` (labels)."""
    face = prepared.face
    p = face.parameters
    numbers = {f"parameters.{name}": np.asarray(getattr(p, name)) for name in p.__dataclass_fields__}
    numbers |= {f"embeddings.{name}": value for name, value in prepared.embeddings.items()}
    numbers["landmarks"] = face.landmarks
    numbers["frame"] = np.array([face.frame.x, face.frame.y, face.frame.width, face.frame.height])
    numbers["camera"] = np.array([face.camera.focal, *face.camera.center, face.camera.width, face.camera.height])
    numbers["quality"] = np.array([face.score, face.fit_error])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **numbers)
    matte = np.stack([face.matte.person, face.matte.hair, face.matte.clothes], -1)
    return {
        "jpg": _encode(".jpg", face.photo.pixels, cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
        "npz": buffer.getvalue(),
        "matte.png": _encode(".png", np.rint(matte * 255).astype(np.uint8), cv2.IMWRITE_PNG_COMPRESSION, 6),
        "json": json.dumps({"labels": prepared.labels, "model": face.model}).encode(),
    }


def unpack(key: str, files: dict[str, bytes]) -> Prepared:
    """Inverse of :func:`pack`, but for what JPEG and 8 bits lose."""
    with np.load(io.BytesIO(files["npz"])) as data:
        numbers = dict(data)
    notes = json.loads(files["json"])
    group = {name.partition(".")[2]: value for name, value in numbers.items() if name.startswith("parameters.")}
    matte = _decode(files["matte.png"]).astype(np.float32) / 255
    focal, x, y, width, height = numbers["camera"].tolist()
    landmarks = numbers["landmarks"]
    face = TrackedFace(
        photo=Photo(_decode(files["jpg"])),
        index=0,
        box=(*landmarks.min(0).tolist(), *landmarks.max(0).tolist()),
        score=float(numbers["quality"][0]),
        landmarks=landmarks,
        parameters=FaceParameters(**{name: torch.from_numpy(value) for name, value in group.items()}),
        camera=Camera(focal, (x, y), int(width), int(height)),
        frame=Frame(*(int(v) for v in numbers["frame"])),
        matte=Matte(*(np.ascontiguousarray(matte[..., k]) for k in range(3))),
        fit_error=float(numbers["quality"][1]),
        model=notes["model"],
    )
    embeddings = {name.partition(".")[2]: v for name, v in numbers.items() if name.startswith("embeddings.")}
    return Prepared(key, face, embeddings, notes["labels"])


def write_shard(path: Path, faces: Iterable[tuple[str, dict[str, bytes]]]) -> int:
    """Writes a tar file, under a temporary name first; its number of faces."""
    count, unfinished = 0, path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as tar:
        for key, files in faces:
            count += 1
            for suffix, content in files.items():
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    unfinished.rename(path)
    return count


def write_index(folder: Path) -> int:
    """Writes ``index.json``: for each face its key, shard, labels, and the place of each of its files."""
    rows: list[dict] = []
    for shard in sorted(folder.glob("*.tar")):
        places: dict[str, dict[str, tuple[int, int]]] = {}
        with tarfile.open(shard) as tar:
            for entry in tar:
                key, _, suffix = entry.name.partition(".")
                places.setdefault(key, {})[suffix] = (entry.offset_data, entry.size)
        with shard.open("rb") as file:
            for key, files in places.items():
                labels = json.loads(_read(file, files["json"]))["labels"]
                rows.append({"key": key, "shard": shard.name, "files": files, "labels": labels})
    unfinished = folder / "index.unfinished"
    unfinished.write_text(json.dumps(rows), encoding="utf-8")
    unfinished.rename(folder / "index.json")
    return len(rows)


class Shards:
    """The faces of a dataset, by number.

    Args:
        folder: from ``instaface prepare``.

    Raises:
        InstaFaceError: there is no dataset.
    """

    def __init__(self, folder: Path) -> None:
        index = folder / "index.json"
        if not index.is_file():
            raise InstaFaceError(f"data {folder}: no dataset in it; make one with instaface prepare PHOTOS -o {folder}")
        self.folder = folder
        self.rows: list[dict] = json.loads(index.read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self.rows)

    def numbers(self, split: str) -> list[int]:
        """The faces that are for ``training`` or for ``validation``.

        Raises:
            InstaFaceError: there is none.
        """
        numbers = [n for n, row in enumerate(self.rows) if row["labels"].get(SPLIT) == split]
        if not numbers:
            raise InstaFaceError(
                f"data {self.folder}: none of its {len(self)} faces is for {split}; every 18th photo is kept for"
                f" validation, or the labels say it in a column {SPLIT}"
            )
        return numbers

    def __getitem__(self, number: int) -> Prepared:
        return unpack(self.rows[number]["key"], read_files(self.folder, self.rows[number]))


def read_files(folder: Path, row: dict) -> dict[str, bytes]:
    """The files of a row of the index, by suffix."""
    with (folder / row["shard"]).open("rb") as file:
        return {suffix: _read(file, place) for suffix, place in row["files"].items()}


def _read(file: io.BufferedReader, place: tuple[int, int]) -> bytes:
    file.seek(place[0])
    return file.read(place[1])


def _encode(kind: str, pixels: NDArray[np.uint8], *options: int) -> bytes:
    return cv2.imencode(kind, pixels[..., ::-1], options)[1].tobytes()


def _decode(data: bytes) -> NDArray[np.uint8]:
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]).astype(
        np.uint8
    )
