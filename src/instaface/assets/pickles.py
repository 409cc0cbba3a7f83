"""Pickles read as data: nothing that a file names is ever imported or called.

A pickle is a program: it names functions and has them called. Here the unpickler is given, for each name, an inert
class that only notes down what it was to be called with (a :class:`Record`). Names outside of a short list are refused
before that. Afterwards :func:`interpret` turns the records of the list's names (NumPy arrays, SciPy sparse matrices,
chumpy arrays, torch tensors) into NumPy arrays with a few lines of our own each.

The unpickler is Python's own one written in Python: the one in C keeps its memo in an array as long as the largest
index that a file claims, and hashes whatever a file uses as a key, so that a file of a hundred bytes can fill the
memory or run for years.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from instaface.errors import InstaFaceError

# What a hostile or damaged file can make the unpickler raise.
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    ImportError,
    ArithmeticError,
    MemoryError,
    RecursionError,
)
_NUMERIC = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_MAX_DENSE = 2_000_000  # elements of a sparse matrix written out; FLAME's has 5 x 5023


class Record:
    """What a pickle asked for: ``name(*args)``, then a state and items; nothing of it has happened.

    Each name of a file gets a subclass of its own, made for that file alone, so that nothing the file does to the
    class outlives its reading.
    """

    name = ""
    args: tuple[Any, ...]
    state: Any
    items: list[tuple[Any, Any]]

    def __new__(cls, *args: Any) -> Record:
        record = object.__new__(cls)
        record.args, record.state, record.items = args, None, []
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))


class Persistent(Record):
    """A reference out of the pickle, as torch writes for the storage of a tensor."""

    name = "persistent"


Interpreter = Callable[[Record, Callable[[Any], Any]], Any]


def _key(value: Any) -> Any:
    """A dict's key or a set's member: a plain value, a record, or a tuple of such.

    Tuples of tuples are refused: the hash of one whose parts are shared takes exponential time.
    """
    for part in value if isinstance(value, tuple) else (value,):
        if not (part is None or isinstance(part, str | bytes | int | float | np.generic | Record | type)):
            raise ValueError(f"a {type(part).__name__} as a key")
    return value


_InPython: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Unpickler(_InPython):
    """Makes records of the names in ``known``, refuses any other."""

    dispatch: ClassVar[dict[int, Any]] = dict(_InPython.dispatch)

    def __init__(self, file: IO[bytes], known: Mapping[str, Interpreter], source: str) -> None:
        super().__init__(file, encoding="latin1")
        self._known, self._source = known, source
        self._classes: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in self._known:
            raise InstaFaceError(
                f"{self._source}: refused: the file wants Python to load {full!r}, which no model file needs; "
                "do not open it elsewhere, download it again from its official site"
            )
        return self._classes.setdefault(full, type(name, (Record,), {"name": full}))

    def persistent_load(self, pid: Any) -> Any:
        return Persistent(*pid) if isinstance(pid, tuple) else Persistent(pid)

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append({_key(items[i]): items[i + 1] for i in range(0, len(items), 2)})

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_key(key)] = value

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        for i in range(0, len(items), 2):
            self.stack[-1][_key(items[i])] = items[i + 1]

    def _load_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(_key(item) for item in items))

    def _load_additems(self) -> None:
        items = self.pop_mark()
        self.stack[-1].update(_key(item) for item in items)

    def _load_bytearray(self) -> None:
        claimed = int.from_bytes(self.read(8), "little")
        data = self.read(claimed)
        if len(data) != claimed:
            raise EOFError(f"{len(data)} bytes of {claimed}")
        self.append(bytearray(data))

    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    dispatch[pickle.FROZENSET[0]] = _load_frozenset
    dispatch[pickle.ADDITEMS[0]] = _load_additems
    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray


def load_records(file: IO[bytes], known: Mapping[str, Interpreter], source: str) -> Any:
    """One pickle of a file, its objects as :class:`Record`.

    Args:
        file: open for reading bytes; left right behind the pickle.
        known: full names that may occur; Python 2 and 3 spell some differently.
        source: the file's name, for messages.

    Raises:
        InstaFaceError: a name outside of ``known``, a truncated file, or no pickle at all.
    """
    try:
        return _Unpickler(file, known, source).load()
    except InstaFaceError:
        raise
    except _BROKEN as error:
        raise InstaFaceError(f"{source}: truncated, damaged or not a pickle ({error}); download it again") from error


def interpret(value: Any, known: Mapping[str, Interpreter], source: str) -> Any:
    """Records to NumPy arrays, within dicts, lists, tuples and sets of plain values.

    Raises:
        InstaFaceError: a record that its interpreter cannot make sense of, or a value that contains itself.
    """
    done: dict[int, tuple[Any, Any]] = {}  # the item too, lest its id be used again
    busy: set[int] = set()

    def walk(item: Any) -> Any:
        if item is None or isinstance(item, str | bytes | bytearray | bool | int | float | complex):
            return item
        key = id(item)
        if key in done:
            return done[key][1]
        if key in busy:
            raise ValueError("a value contains itself")
        busy.add(key)
        done[key] = (item, build(item))
        return done[key][1]

    def build(item: Any) -> Any:
        if isinstance(item, Record):
            return known[item.name](item, walk)
        if isinstance(item, dict):
            return {_key(walk(k)): walk(v) for k, v in item.items()}
        if isinstance(item, list | tuple):
            return type(item)(walk(v) for v in item)
        if isinstance(item, set | frozenset):
            return type(item)(_key(walk(v)) for v in item)
        raise ValueError(f"a bare {getattr(item, 'name', type(item).__name__)!r} where a value should be")

    try:
        return walk(value)
    except _BROKEN as error:
        raise InstaFaceError(f"{source}: its content is not what such a file holds ({error})") from error


def load(file: IO[bytes], known: Mapping[str, Interpreter], source: str) -> Any:
    """One pickle as plain values and NumPy arrays: :func:`load_records`, then :func:`interpret`."""
    return interpret(load_records(file, known, source), known, source)


# --- what the names mean ------------------------------------------------------------------------------------------


def _as_bytes(data: Any) -> bytes:
    """Python 2 strings arrive as text, one character a byte."""
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _dtype(record: Any) -> np.dtype[Any]:
    """A plain numeric or text dtype, or object."""
    if not isinstance(record, Record) or record.name != "numpy.dtype":
        raise ValueError("an array without a dtype")
    code = record.args[0]
    order = record.state[1] if record.state else "|"
    if code in ("O8", "O", "O4"):
        return np.dtype(object)
    if order not in ("<", ">", "|", "=") or not (code in _NUMERIC or re.fullmatch(r"[SU]\d{1,4}", code)):
        raise ValueError(f"array of type {order}{code}")
    return np.dtype(order + code)


def _array(data: Any, dtype: np.dtype[Any], shape: Any, fortran: bool, walk: Callable[[Any], Any]) -> NDArray[Any]:
    shape = tuple(int(n) for n in shape)
    if dtype.hasobject:
        out = np.empty(len(data), object)
        out[:] = [walk(item) for item in data]
    else:
        out = np.frombuffer(_as_bytes(walk(data)), dtype)
    return out.reshape(shape, order="F" if fortran else "C")


def _reconstruct(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
    """``numpy.ndarray.__reduce__``: the state is (version, shape, dtype, fortran, data)."""
    _, shape, dtype, fortran, data = record.state
    return _array(data, _dtype(dtype), shape, bool(fortran), walk)


def _frombuffer(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
    """``numpy.ndarray.__reduce_ex__(5)``."""
    data, dtype, shape, order = record.args
    return _array(data, _dtype(dtype), shape, order == "F", walk)


def _scalar(record: Record, walk: Callable[[Any], Any]) -> Any:
    dtype, data = record.args
    return np.frombuffer(_as_bytes(walk(data)), _dtype(dtype))[0]


def _encode(record: Record, walk: Callable[[Any], Any]) -> bytes:
    """Python 3 writes bytes so in the protocols that Python 2 reads."""
    text, encoding = record.args
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in {encoding!r}")
    return text.encode("latin1")


def _set(record: Record, walk: Callable[[Any], Any]) -> set[Any]:
    return {_key(item) for item in walk(record.args[0])} if record.args else set()


def _ordered(record: Record, walk: Callable[[Any], Any]) -> dict[Any, Any]:
    pairs = record.args[0] if record.args else []
    walk(record.state)  # state dicts carry a harmless `_metadata`
    return {_key(walk(k)): walk(v) for k, v in [*pairs, *record.items]}


def _reconstructor(record: Record, walk: Callable[[Any], Any]) -> Any:
    """Protocols 0 and 1 make an instance by ``copy_reg._reconstructor(cls, object, None)``."""
    cls = record.args[0]
    if not (isinstance(cls, type) and issubclass(cls, Record)):
        raise ValueError("an instance of nothing")
    instance = cls()
    instance.state = record.state
    return walk(instance)


def _no_value(record: Record, walk: Callable[[Any], Any]) -> Any:
    raise ValueError(f"a bare {record.name!r} where a value should be")


def _chumpy(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
    """``chumpy.Ch``: its array is the state entry ``x``; the rest is bookkeeping of automatic differentiation."""
    state = walk(record.state)
    if not isinstance(state, dict) or not isinstance(state.get("x"), np.ndarray):
        raise ValueError("a chumpy array without its values (state entry 'x')")
    return state["x"]


def _chumpy_select(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
    """``chumpy.reordering.Select``: elements ``idxs`` of the flat array ``a``, in ``preferred_shape`` if any."""
    state = walk(record.state)
    chosen = np.asarray(state["a"]).ravel()[np.asarray(state["idxs"])]
    return chosen.reshape(state["preferred_shape"]) if "preferred_shape" in state else chosen


def _sparse(record: Record, walk: Callable[[Any], Any]) -> NDArray[Any]:
    """SciPy compressed sparse columns or rows, written out dense."""
    state = walk(record.state)
    shape = tuple(int(n) for n in state.get("_shape", state.get("shape", ())))
    data, indices, indptr = (np.asarray(state[k]) for k in ("data", "indices", "indptr"))
    by_column = "csc" in record.name
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] > _MAX_DENSE:
        raise ValueError(f"a sparse matrix of shape {shape}")
    major, minor = (shape[1], shape[0]) if by_column else shape
    if indptr.shape != (major + 1,) or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != len(indices):
        raise ValueError("a sparse matrix whose index pointers do not fit its shape")
    if len(data) != len(indices) or (len(indices) and (indices.min() < 0 or indices.max() >= minor)):
        raise ValueError("a sparse matrix whose indices do not fit its shape")
    lines = np.repeat(np.arange(major), np.diff(indptr))
    dense = np.zeros((major, minor), data.dtype)
    np.add.at(dense, (lines, indices), data)
    return dense.T if by_column else dense


_PLAIN: dict[str, Interpreter] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.ndarray": _no_value,
    "numpy.dtype": _no_value,
    "_codecs.encode": _encode,
    "__builtin__.set": _set,
    "builtins.set": _set,
    "__builtin__.object": _no_value,
    "builtins.object": _no_value,
    "copy_reg._reconstructor": _reconstructor,
    "copyreg._reconstructor": _reconstructor,
    "collections.OrderedDict": _ordered,
}

NUMPY: Mapping[str, Interpreter] = _PLAIN
"""NumPy arrays and plain containers."""

FLAME: Mapping[str, Interpreter] = {
    **_PLAIN,
    "chumpy.ch.Ch": _chumpy,
    "chumpy.reordering.Select": _chumpy_select,
    **{f"scipy.sparse.{m}.{c}": _sparse for c in ("csc_matrix", "csr_matrix") for m in (c[:3], f"_{c[:3]}")},
}
"""What FLAME's Python 2 pickles hold besides: chumpy arrays and SciPy sparse matrices."""
