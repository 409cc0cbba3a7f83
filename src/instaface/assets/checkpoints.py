"""Torch checkpoints read as data, without torch, in both of its file formats.

``torch.save`` writes a pickle whose tensors point into raw storages: since 1.6 in a zip archive, before that one
behind the other in one file. The pickle is read as in :mod:`instaface.assets.pickles`, so that, unlike with
``torch.load(weights_only=True)`` before torch 2.6 (CVE-2025-32434), no version of torch matters.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from instaface.assets.pickles import NUMPY, Interpreter, Record, _as_bytes, interpret, load_records
from instaface.errors import InstaFaceError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_STORAGE_NAMES = [f"{module}.{name}" for module in ("torch", "torch.cuda") for name in _STORAGES]


def _known(storage: Callable[[Record], NDArray[Any]]) -> dict[str, Interpreter]:
    """The names of torch pickles; ``storage`` finds the raw values that a persistent id points to."""

    def tensor(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
        """``_rebuild_tensor_v2(storage, offset, size, stride, ...)``."""
        values, offset, size, stride = record.args[:4]
        return _view(walk(values), int(offset), _ints(size), _ints(stride))

    def ids(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
        return storage(record)

    def from_bytes(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
        """A tensor inside a plain pickle carries its storage as a small legacy file."""
        return read_legacy(io.BytesIO(_as_bytes(walk(record.args[0]))), "a tensor's storage")

    def parameter(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
        return walk(record.args[0])

    def no_value(record: Record, walk: Callable[[Any], Any]) -> Any:
        raise ValueError(f"a bare {record.name!r} where a value should be")

    return {
        **NUMPY,
        **dict.fromkeys(_STORAGE_NAMES, no_value),
        "persistent": ids,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_parameter": parameter,
        "torch.storage._load_from_bytes": from_bytes,
        "torch.Size": lambda record, walk: tuple(walk(record.args[0])),
    }


def _no_storage(record: Record) -> NDArray[Any]:
    raise ValueError("a storage outside of a torch file")


TORCH: Mapping[str, Interpreter] = _known(_no_storage)
"""NumPy arrays and torch tensors inside a plain pickle."""


def _ints(values: Any) -> tuple[int, ...]:
    values = values.args[0] if isinstance(values, Record) else values
    return tuple(int(v) for v in values)


def _view(values: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> NDArray[Any]:
    """The tensor of ``size`` and ``stride`` (in elements) that starts at ``offset``, as a copy."""
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ValueError("a tensor without a storage")
    if len(size) != len(stride) or offset < 0 or min((0, *size)) < 0 or min((0, *stride)) < 0:
        raise ValueError(f"a tensor of size {size}, stride {stride}, offset {offset}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= len(values):
        raise ValueError(f"a tensor of size {size} in a storage of {len(values)} values")
    if 0 in size:
        return np.zeros(size, values.dtype)
    if np.prod(size, dtype=float) > max(len(values), 1):
        raise ValueError(f"a tensor of size {size} that repeats its {len(values)} values")
    steps = tuple(s * values.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False).copy()


def _describe(record: Record) -> tuple[str, np.dtype[Any], int, Any]:
    """A persistent id ("storage", class, key, location, number of values[, view]) to key, dtype, number, view."""
    kind, cls, key, _, number = record.args[:5]
    name = getattr(cls, "name", "").rpartition(".")[2]
    if kind != "storage" or name not in _STORAGES or not isinstance(number, int) or number < 0:
        raise ValueError(f"a storage of kind {kind!r}, {name!r}")
    return str(key), np.dtype(_STORAGES[name]), number, record.args[5] if len(record.args) > 5 else None


def read_zip(path: Path) -> Any:
    """A torch >= 1.6 checkpoint: nested dicts and lists with NumPy arrays for tensors.

    Raises:
        InstaFaceError: truncated, or not of this form, or a name that no checkpoint needs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if sum(sizes.values()) > 2 * path.stat().st_size + 2**20:
                raise InstaFaceError(f"{path.name}: refused: the archive unpacks to far more than its own size")
            root = next(name for name in sizes if name.endswith("data.pkl"))[: -len("data.pkl")]
            if root + "byteorder" in sizes and archive.read(root + "byteorder") != b"little":
                raise InstaFaceError(f"{path.name}: written on a big-endian machine; load and save it on another")
            cache: dict[str, NDArray[Any]] = {}

            def storage(record: Record) -> NDArray[Any]:
                key, dtype, number, _ = _describe(record)
                if key not in cache:
                    cache[key] = np.frombuffer(archive.read(f"{root}data/{key}"), dtype)
                if len(cache[key]) != number:
                    raise ValueError(f"storage {key} holds {len(cache[key])} values, not {number}")
                return cache[key]

            known = _known(storage)
            records = load_records(io.BytesIO(archive.read(root + "data.pkl")), known, path.name)
            return interpret(records, known, path.name)
    except (zipfile.BadZipFile, StopIteration, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise InstaFaceError(f"{path.name}: truncated or damaged archive ({error}); download it again") from error


def read_legacy(file: IO[bytes], source: str) -> Any:
    """A checkpoint of torch < 1.6: magic number, version, system, content, storage keys, then the storages' bytes."""
    known = _known(_no_storage)
    magic, _, _, records, keys = (load_records(file, known, source) for _ in range(5))
    if magic != _LEGACY_MAGIC or not isinstance(keys, list):
        raise InstaFaceError(f"{source}: not a torch checkpoint")
    raw: dict[str, bytes] = {}
    widths = _widths(records)
    start = file.tell()
    left = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    for key in map(str, keys):
        size = int.from_bytes(file.read(8), "little", signed=True) * widths.get(key, 1)
        left -= 8 + size
        raw[key] = file.read(size) if size >= 0 and left >= 0 else b""
        if size < 0 or left < 0:
            raise InstaFaceError(f"{source}: truncated: storage {key} ends early; download it again")

    def storage(record: Record) -> NDArray[Any]:
        key, dtype, _, view = _describe(record)
        values = np.frombuffer(raw[key], dtype)
        return values if view is None else values[int(view[1]) : int(view[1]) + int(view[2])]

    return interpret(records, _known(storage), source)


def _widths(records: Any) -> dict[str, int]:
    """Bytes of one value by storage key, from all persistent ids within ``records``."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    todo = [records]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, str | bytes):
            continue
        seen.add(id(item))
        if isinstance(item, Record):
            if item.name == "persistent":
                try:
                    key, dtype, _, _ = _describe(item)
                    found[key] = dtype.itemsize
                except (ValueError, TypeError):
                    continue  # said when it is interpreted
            todo += [item.args, item.state, item.items]
        elif isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            todo += item
    return found


def is_legacy(path: Path) -> bool:
    """Whether a file starts with the magic number of torch < 1.6 (a pickled integer)."""
    with path.open("rb") as file:
        return _LEGACY_MAGIC.to_bytes(10, "little") in file.read(32)
