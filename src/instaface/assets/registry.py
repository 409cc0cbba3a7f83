"""The registry of what the user adds: converted files in the user's data folder, with where each came from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.assets.kinds import KINDS, checksum, recognise
from instaface.errors import InstaFaceError

_REGISTRY = "registry.json"


@dataclass(frozen=True)
class Entry:
    """One added file.

    Attributes:
        kind: name of its :class:`instaface.assets.kinds.Kind`; one file of each kind can be there.
        title: what it is.
        licence: as its owner states it.
        source: name of the file that was added.
        source_sha256: its checksum.
        file: name of the converted file in the folder.
        sha256: checksum of the converted file.
        added: when, UTC, ISO 8601.
        facts: short texts about the content; ``release`` where the checksum is a published one.
        notes: what was not as expected.
    """

    kind: str
    title: str
    licence: str
    source: str
    source_sha256: str
    file: str
    sha256: str
    added: str
    facts: dict[str, str]
    notes: list[str]


def home() -> Path:
    """Folder of what the user adds: ``$INSTAFACE_HOME`` if set, else the platform's place for user data."""
    from platformdirs import user_data_path

    folder = os.environ.get("INSTAFACE_HOME")
    return Path(folder) if folder else user_data_path("instaface", appauthor=False)


def folder() -> Path:
    """Where converted files lie."""
    return home() / "assets"


def add(path: Path) -> Entry:
    """Recognises, checks and converts one file; an earlier one of its kind is replaced.

    The earlier one stays until the new one is complete: a run that is stopped changes nothing.

    Raises:
        InstaFaceError: no file InstaFace knows, damaged, or one that would run code.
    """
    from safetensors.numpy import save

    kind, source = recognise(path)
    converted = kind.convert(source)
    facts = dict(converted.facts)
    if source.release:
        facts["release"] = source.release
    data = save({k: np.ascontiguousarray(v) for k, v in converted.arrays.items()}, {"kind": kind.name, **facts})
    sha256 = hashlib.sha256(data).hexdigest()
    entry = Entry(
        kind=kind.name,
        title=kind.title,
        licence=kind.licence,
        source=path.name,
        source_sha256=source.sha256,
        file=f"{kind.name}-{sha256[:12]}.safetensors",
        sha256=sha256,
        added=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        facts=facts,
        notes=converted.notes,
    )
    earlier = _find(kind.name)
    _write(folder() / entry.file, data)
    _save([*(e for e in entries() if e.kind != kind.name), entry])
    if earlier is not None and earlier.file != entry.file:
        (folder() / earlier.file).unlink(missing_ok=True)
    return entry


def entries() -> list[Entry]:
    """All added files, in the order of adding."""
    path = folder() / _REGISTRY
    try:
        return [Entry(**item) for item in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise InstaFaceError(f"{path}: damaged ({error}); delete it and add the files again") from error


def verify() -> list[tuple[Entry, str | None]]:
    """Each entry with what is wrong with its converted file, None where nothing is."""
    return [(entry, _problem(entry)) for entry in entries()]


def remove(kind: str) -> Entry:
    """Deletes the converted file of a kind; the user's own file is not touched.

    Raises:
        InstaFaceError: nothing of that kind was added.
    """
    entry = _find(kind)
    if entry is None:
        there = ", ".join(e.kind for e in entries()) or "nothing"
        raise InstaFaceError(f"no {kind!r} was added; there is: {there}")
    _save([e for e in entries() if e.kind != kind])
    (folder() / entry.file).unlink(missing_ok=True)
    return entry


def has(kind: str) -> bool:
    """Whether a file of a kind was added."""
    return _find(kind) is not None


def load(kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and facts of an added file.

    Raises:
        InstaFaceError: none of that kind was added, or its converted file is gone or unreadable.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    entry = _find(kind)
    if entry is None:
        title = next((k.title for k in KINDS if k.name == kind), kind)
        raise InstaFaceError(
            f"missing: {title}; add it with `instaface assets add FILE` (docs/deca.md says where it is)"
        )
    try:
        return load_file(folder() / entry.file), entry.facts
    except (OSError, SafetensorError) as error:
        raise InstaFaceError(f"{folder() / entry.file}: cannot be read ({error}); add {entry.source} again") from error


def _find(kind: str) -> Entry | None:
    return next((entry for entry in entries() if entry.kind == kind), None)


def _problem(entry: Entry) -> str | None:
    try:
        found = checksum(folder() / entry.file)
    except FileNotFoundError:
        return "the converted file is gone; add it again"
    except OSError as error:
        return f"the converted file cannot be read ({error.strerror}); add it again"
    return None if found == entry.sha256 else "the converted file was changed; add it again"


def _save(items: list[Entry]) -> None:
    _write(folder() / _REGISTRY, json.dumps([asdict(item) for item in items], indent=2).encode())


def _write(path: Path, data: bytes) -> None:
    """All or nothing: a temporary name, then a rename."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise InstaFaceError(f"{path.parent}: cannot be written ({error.strerror}); set INSTAFACE_HOME") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
