"""The files a user may add: how each is recognised by its content, checked, and converted to plain arrays.

Entries, shapes and orders are those that DECA, FLAME and their published code read. What is known is checked
strictly; where a file differs in something that is not known for sure, it is taken and a note says so.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from instaface.assets import checkpoints, pickles
from instaface.errors import InstaFaceError

N_VERTICES, N_FACES, N_UV, N_JOINTS = 5023, 9976, 5118, 5
N_TEXTURE = 50  # components that DECA uses of the 199 or 200 in a texture file
TEXTURE_SIZE = 256  # DECA takes every second pixel of the 512 x 512 in a texture file
_MAX_BYTES = 2**26  # of one array that is read as a whole; a texture's mean has 6 MB
_MAX_BASIS_BYTES = 2**31  # of a texture's components, where the order of their values allows no reading row by row
_MAX_TEXTURE = 512  # components
_PARENTS = (-1, 0, 1, 1, 1)
RELEASES = {
    "efcd14cc4a69f3a3d9af8ded80146b5b6b50df3bd74cf69108213b144eba725b": "FLAME 2020, generic_model.pkl",
    "8fb1af0db1abb51053ead8fd1f2624a63d01c9602f4a4fb4ea23bd2c82017fa0": "FLAME 2023, flame2023.pkl",
    "e75a0990728ba038c7da2a420ae4396f7ddd7781366c13026066c5b24f127623": "FLAME 2023 Open, flame2023_Open.pkl",
    "e714ed293054cba5eea9c96bd3b6b57880074cd84b3fd00d606cbaf0bee7c5c2": "DECA, deca_model.tar",
    "8095348eeafce5a02f6bd8765146307f9567a3f03b316d788a2e47336d667954": "DECA, landmark_embedding.npy",
    "dd5bfbce75adb99b1963f43bca7ec3557bd4a7321f8fc515f4100599e80d99f2": "DECA, head_template.obj",
    "8863363013fc6fe3752d4318ea02a1784970200616a54b785920cdd0568816fc": "FLAME, mediapipe_landmark_embedding.npz",
    "ccefbe1ac0774ff78c68caf2c627b4abc067a6555ebeb0be5d5b0812366ab492": "FLAME, FLAME_masks.pkl",
}
"""SHA-256 of files as published, each as two or more public projects pin it; none of the files was opened here."""

Arrays = dict[str, NDArray[Any]]


@dataclass
class Converted:
    """A file's content in our form.

    Attributes:
        arrays: float32, int64 or uint8 arrays by name.
        facts: short texts that describe them, kept with the file.
        notes: what was not as expected, or not used; shown to the user.
    """

    arrays: Arrays
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """One sort of file.

    Attributes:
        name: what the registry calls it.
        title: what it is, in words.
        licence: as its owner states it.
        expected: its content in a few words, for messages.
        matches: whether a source is of this kind.
        convert: checks and converts it.
    """

    name: str
    title: str
    licence: str
    expected: str
    matches: Callable[[Source], bool]
    convert: Callable[[Source], Converted]


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Source:
    """A file, its form told by its first bytes, its content read when asked for and nothing in it executed."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        try:
            with path.open("rb") as file:
                self._head = file.read(4096)
        except OSError as error:
            raise InstaFaceError(f"{path}: cannot be read ({error.strerror}); give an existing file") from error
        if not self._head:
            raise InstaFaceError(f"{path}: the file is empty; download it again")

    @cached_property
    def form(self) -> str:
        """torch, torch-legacy, npz, npy, pickle, obj, archive or unknown."""
        if self._head.startswith(b"PK\x03\x04"):
            names = self.members
            if any(name.endswith("data.pkl") for name in names):
                return "torch"
            return "npz" if names and all(name.endswith(".npy") for name in names) else "archive"
        if self._head.startswith(b"\x1f\x8b") or self._head[257:262] == b"ustar":
            return "archive"
        if self._head.startswith(b"\x93NUMPY"):
            return "npy"
        if checkpoints.is_legacy(self.path):
            return "torch-legacy"
        if self._head[:1] in (b"\x80", b"(", b"c", b"]", b"}"):
            return "pickle" if _starts_as_pickle(self._head) else "unknown"
        lines = self._head.decode("latin1").splitlines()
        return "obj" if any(line.startswith(("v ", "vt ", "mtllib ")) for line in lines) else "unknown"

    @cached_property
    def members(self) -> list[str]:
        """Names inside a zip archive."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise InstaFaceError(f"{self.name}: truncated or damaged archive ({error}); download it again") from error

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return checksum(self.path)

    @property
    def release(self) -> str:
        """Which published file it is, empty where its checksum is none of :data:`RELEASES`."""
        return RELEASES.get(self.sha256, "")

    @cached_property
    def keys(self) -> frozenset[str]:
        """Names of the entries, where the file has some."""
        if self.form == "npz":
            return frozenset(name[: -len(".npy")] for name in self.members)
        if self.form in ("torch", "torch-legacy", "pickle", "npy") and isinstance(self.content, dict):
            return frozenset(map(str, self.content))
        return frozenset()

    @cached_property
    def content(self) -> Any:
        """What a pickle, checkpoint or npy file holds; a 0-d object array gives its one object."""
        if self.form == "torch":
            return checkpoints.read_zip(self.path)
        with self.path.open("rb") as file:
            if self.form == "torch-legacy":
                return checkpoints.read_legacy(file, self.name)
            if self.form == "npy":
                return self._npy(file)
            return pickles.load(file, pickles.FLAME, self.name)

    def array(self, key: str, most: int = _MAX_BYTES) -> NDArray[Any]:
        """One array of an npz or of a dict; of an npz at most ``most`` bytes."""
        if self.form != "npz":
            return np.asarray(self.content[key])
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(key + ".npy") as file:
                return np.asarray(self._npy(file, most))
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise InstaFaceError(f"{self.name}: truncated: {key} ends early ({error}); download it again") from error

    def rows(self, key: str) -> tuple[tuple[int, ...], Iterator[NDArray[Any]]]:
        """Shape of an array of an npz, and its rows along the first axis, one at a time: some are over a gigabyte."""
        with zipfile.ZipFile(self.path) as archive, archive.open(key + ".npy") as file:
            shape, fortran, dtype = self._header(file)
        if fortran or dtype.hasobject:
            whole = self.array(key, _MAX_BASIS_BYTES)
            return whole.shape, iter(np.atleast_1d(whole))
        return shape, self._read_rows(key, shape[1:], dtype)

    def _read_rows(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        width = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        with zipfile.ZipFile(self.path) as archive, archive.open(key + ".npy") as file:
            count = self._header(file)[0][0]
            for index in range(count):
                row = file.read(width)
                if len(row) != width:
                    raise InstaFaceError(f"{self.name}: truncated: {key} ends at row {index} of {count}")
                yield np.frombuffer(row, dtype).reshape(shape)

    def _header(self, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = read(file)
            if min((0, *shape)) < 0:
                raise ValueError(f"shape {shape}")
            return shape, fortran, dtype
        except (ValueError, KeyError, EOFError) as error:
            raise InstaFaceError(f"{self.name}: damaged NumPy header ({error}); download it again") from error

    def _npy(self, file: IO[bytes], most: int = _MAX_BYTES) -> Any:
        shape, fortran, dtype = self._header(file)
        size = math.prod(shape) * dtype.itemsize
        data = b"" if size > most else file.read(most + 1 if dtype.hasobject else size)
        if max(size, len(data)) > most:
            raise InstaFaceError(f"{self.name}: refused: an array of over {most / 1e6:.0f} MB; no file known has one")
        if dtype.hasobject:
            value = pickles.load(io.BytesIO(data), checkpoints.TORCH, self.name)
            return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        if len(data) != size:
            raise InstaFaceError(f"{self.name}: truncated: {len(data)} bytes of {size}; download it again")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _starts_as_pickle(head: bytes) -> bool:
    """Whether the first operations are those of a pickle."""
    try:
        for number, _ in enumerate(pickletools.genops(head)):
            if number >= 3:
                return True
    except ValueError:
        return False
    return True


class UnknownFile(InstaFaceError):
    """A file of no kind that InstaFace takes."""


def recognise(path: Path) -> tuple[Kind, Source]:
    """What a file is, by its content.

    Raises:
        UnknownFile: it is none of :data:`KINDS`.
        InstaFaceError: it cannot be read, would run code, or is damaged.
    """
    source = Source(path)
    for kind in KINDS:
        if kind.matches(source):
            return kind, source
    if source.form == "archive":
        raise UnknownFile(f"{path.name}: an archive of files; unpack it and add its folder")
    entries = ", ".join(sorted(source.keys)[:8]) or "no named entries"
    wanted = "; ".join(f"{kind.name}: {kind.expected}" for kind in KINDS)
    raise UnknownFile(f"{path.name}: not a file InstaFace knows (form {source.form}, {entries}); expected {wanted}")


# --- checks -------------------------------------------------------------------------------------------------------


def _number(source: Source, key: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A finite numeric array of ``shape`` (None: any size)."""
    array = source.array(key)
    fits = array.ndim == len(shape) and all(s in (None, n) for s, n in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "fiu":
        wanted = "x".join("N" if s is None else str(s) for s in shape)
        hint = "; 6890 vertices are SMPL's, not FLAME's" if 6890 in array.shape else ""
        found = "x".join(map(str, array.shape)) or "scalar"
        raise InstaFaceError(f"{source.name}: {key} is {array.dtype} {found}, expected {wanted}{hint}")
    if not np.isfinite(array).all():
        raise InstaFaceError(f"{source.name}: {key} holds values that are not finite; download it again")
    return array


def _floats(source: Source, key: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    return np.ascontiguousarray(_number(source, key, shape), np.float32)


def _indices(source: Source, key: str, shape: tuple[int | None, ...], limit: int) -> NDArray[np.int64]:
    """Whole numbers 0..limit-1, whatever type they come in."""
    array = _number(source, key, shape)
    if (array != np.round(array)).any() or (array < 0).any() or (array >= limit).any():
        raise InstaFaceError(f"{source.name}: {key} must hold whole numbers 0..{limit - 1}")
    return np.ascontiguousarray(array, np.int64)


def _unused(source: Source, used: set[str]) -> list[str]:
    extra = sorted(source.keys - used)
    return [f"entries not used: {', '.join(extra)}"] if extra else []


# --- one converter a kind -----------------------------------------------------------------------------------------


def _flame(source: Source) -> Converted:
    """FLAME 2020 or 2023: float32 arrays in metres, sparse ones written out."""
    v, j = N_VERTICES, N_JOINTS
    shapes = _floats(source, "shapedirs", (v, 3, None))
    joints = _floats(source, "J_regressor", (j, v))
    weights = _floats(source, "weights", (v, j))
    tree = _number(source, "kintree_table", (2, j)).astype(np.int64)
    notes = []
    if shapes.shape[2] != 400:
        notes.append(f"shapedirs has {shapes.shape[2]} components, expected 400 (300 identity, 100 expression)")
        if shapes.shape[2] < 350:
            raise InstaFaceError(f"{source.name}: {notes[0]}; DECA needs identity 0-99 and expression 300-349")
    parents = tree[0].copy()
    parents[0] = -1  # files hold 2^32 - 1
    if any(not 0 <= parents[k] < k for k in range(1, j)):
        raise InstaFaceError(f"{source.name}: kintree_table {parents.tolist()} is not a tree of joints")
    if tuple(parents) != _PARENTS:
        notes.append(f"joints hang together as {parents.tolist()}, expected {list(_PARENTS)}")
    if abs(weights.sum(1) - 1).max() > 1e-3 or weights.min() < -1e-6:
        raise InstaFaceError(f"{source.name}: skinning weights do not add up to 1; download it again")
    if abs(joints.sum(1) - 1).max() > 1e-2:
        notes.append("rows of J_regressor do not add up to 1")
    arrays: Arrays = {
        "template": _floats(source, "v_template", (v, 3)),
        "faces": _indices(source, "f", (N_FACES, 3), v),
        "shape_basis": shapes,
        "pose_basis": _floats(source, "posedirs", (v, 3, 9 * (j - 1))),
        "joint_regressor": joints,
        "skinning": weights,
        "parents": parents,
    }
    size = np.ptp(arrays["template"], axis=0)
    if not 0.1 < size[1] < 1:
        notes.append(f"the head is {size[1]:.3g} high, expected about 0.32 (metres)")
    facts = {}
    for key in ("bs_style", "bs_type"):
        value = source.content.get(key, "absent")
        facts[key] = value.decode("latin1") if isinstance(value, bytes) else str(value)
    for key, usual in (("bs_style", "lbs"), ("bs_type", "lrotmin")):
        if facts[key] not in (usual, "absent"):
            notes.append(f"{key} is {facts[key]!r}, expected {usual!r}")
    if "J" in source.keys:
        rest = joints @ arrays["template"]
        error = float(np.abs(_floats(source, "J", (j, 3)) - rest).max())
        if error > 1e-3:
            notes.append(f"rest joints differ by {error:.2g} m from the regressed ones, which are used")
    layout = source.content.get(_LAYOUT, {})  # only in FLAME 2023 Open
    if isinstance(layout, dict) and layout.get("n_expr", 100) != 100:
        raise InstaFaceError(f"{source.name}: {layout['n_expr']} expression components, expected 100 behind identity")
    if _LAYOUT in source.keys or "2023" in source.release:
        notes.append("a FLAME of 2023: DECA estimates coefficients of FLAME 2020, whose shapes differ")
    used = {*_FLAME_KEYS, "J", "bs_style", "bs_type", _LAYOUT}
    return Converted(arrays, facts, notes + _unused(source, used))


_LAYOUT = "supr_expression_metadata"
_FLAME_KEYS = {"v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table"}


def _flame_landmarks(source: Source) -> Converted:
    """68 landmarks as triangles and barycentric coordinates."""
    arrays: Arrays = {}
    for name, shape in (("static", (51,)), ("dynamic", (79, 17)), ("full", (1, None))):
        arrays[f"{name}_faces"] = _indices(source, f"{name}_lmk_faces_idx", shape, N_FACES)
        arrays[f"{name}_bary"] = _floats(source, f"{name}_lmk_bary_coords", (*shape, 3))
        if abs(arrays[f"{name}_bary"].sum(-1) - 1).max() > 1e-2:
            raise InstaFaceError(f"{source.name}: {name}_lmk_bary_coords do not add up to 1; download it again")
    faces, bary = arrays["full_faces"], arrays["full_bary"]
    if not 68 <= faces.shape[1] == bary.shape[1]:
        raise InstaFaceError(f"{source.name}: full_lmk entries hold {faces.shape[1]} landmarks, expected 68")
    arrays["full_faces"], arrays["full_bary"] = faces[:, :68].copy(), bary[:, :68].copy()
    notes = [] if faces.shape[1] == 68 else [f"{faces.shape[1]} fixed landmarks, of which the first 68 are used"]
    return Converted(arrays, {}, notes + _unused(source, _LANDMARK_KEYS))


_LANDMARK_KEYS = {f"{n}_lmk_{k}" for n in ("static", "dynamic", "full") for k in ("faces_idx", "bary_coords")}


def _flame_mediapipe(source: Source) -> Converted:
    """MediaPipe's 105 landmarks on FLAME; which of the 478 they are, in `landmark_indices`."""
    arrays: Arrays = {
        "faces": _indices(source, "lmk_face_idx", (None,), N_FACES),
        "bary": _floats(source, "lmk_b_coords", (None, 3)),
        "indices": _indices(source, "landmark_indices", (None,), 478),
    }
    lengths = {len(a) for a in arrays.values()}
    if len(lengths) != 1 or abs(arrays["bary"].sum(-1) - 1).max() > 1e-2:
        raise InstaFaceError(f"{source.name}: landmark entries do not fit each other; download it again")
    notes = [] if lengths == {105} else [f"{lengths.pop()} landmarks, expected 105"]
    return Converted(arrays, {}, notes + _unused(source, _MEDIAPIPE_KEYS))


_MEDIAPIPE_KEYS = {"lmk_face_idx", "lmk_b_coords", "landmark_indices"}


def _texture(source: Source, mean_key: str, basis_key: str, scale: float, space: str) -> Converted:
    """First 50 components as DECA samples them: (50, 3, 256, 256), RGB, 0..1, row 0 at v = 1."""
    side = 2 * TEXTURE_SIZE
    mean = source.array(mean_key)
    if mean.size != side * side * 3 or mean.dtype.kind not in "fiu":
        raise InstaFaceError(f"{source.name}: {mean_key} is {mean.dtype} {mean.shape}, expected {side}x{side}x3")
    shape, rows = source.rows(basis_key)
    n = shape[-1] if len(shape) > 1 else 0
    if math.prod(shape) != side * side * 3 * n or not N_TEXTURE <= n <= _MAX_TEXTURE or shape[0] % side:
        raise InstaFaceError(
            f"{source.name}: {basis_key} is {shape}, expected {side}x{side}x3 by 199 or 200 components"
        )
    kept = np.empty((TEXTURE_SIZE, TEXTURE_SIZE, 3, N_TEXTURE), np.float32)
    for index in range(side):  # a row of pixels is one row of the file, or 1536 where each row is one value
        row = np.stack([next(rows) for _ in range(shape[0] // side)]).reshape(side, 3, n)
        if row.dtype.kind not in "fiu":
            raise InstaFaceError(f"{source.name}: {basis_key} holds {row.dtype}, expected numbers")
        if index % 2 == 0:
            kept[index // 2] = row[::2, :, :N_TEXTURE]
    mean = mean.reshape(side, side, 3)[::2, ::2].astype(np.float32)
    if not (np.isfinite(kept).all() and np.isfinite(mean).all()):
        raise InstaFaceError(f"{source.name}: holds values that are not finite; download it again")
    brightest = float(mean.max()) * scale
    notes = (
        [] if 0.2 < brightest <= 1.5 else [f"the mean texture's brightest value is {brightest:.3g}, expected about 1"]
    )
    arrays: Arrays = {
        "mean": np.ascontiguousarray(mean[..., ::-1].transpose(2, 0, 1) * scale, np.float32),
        "basis": np.ascontiguousarray(kept[:, :, ::-1].transpose(3, 2, 0, 1) * scale, np.float32),
    }
    return Converted(arrays, {"space": space}, notes)


def _flame_texture(source: Source) -> Converted:
    out = _texture(source, "mean", "tex_dir", 1 / 255, "flame")
    if {"vt", "ft"} <= source.keys:
        out.arrays["uv"] = _floats(source, "vt", (None, 2))
        out.arrays["uv_faces"] = _indices(source, "ft", (N_FACES, 3), len(out.arrays["uv"]))
    out.notes += _unused(source, {"mean", "tex_dir", "vt", "ft"})
    return out


def _bfm_texture(source: Source) -> Converted:
    if "specMU" in source.keys:
        raise InstaFaceError(
            f"{source.name}: AlbedoMM's albedo for FLAME, another space than the one that DECA estimates; "
            "add FLAME_albedo_from_BFM.npz as BFM_to_FLAME makes it, or FLAME_texture.npz"
        )
    out = _texture(source, "MU", "PC", 1.0, "bfm")
    out.notes += _unused(source, {"MU", "PC"})
    return out


def _flame_uv(source: Source) -> Converted:
    """Texture coordinates of `head_template.obj`. Its vertices are another head: only their number is looked at."""
    uv: list[list[float]] = []
    faces: list[list[tuple[int, int]]] = []
    vertices = 0
    for line in source.path.read_text("latin1").splitlines():
        word, *rest = line.split() or [""]
        try:
            if word == "v":
                vertices += 1
            elif word == "vt":
                uv.append([float(rest[0]), float(rest[1])])
            elif word == "f":
                corners = [corner.split("/") for corner in rest]
                faces.append([(int(c[0]) - 1, int(c[1]) - 1) for c in corners])
        except (ValueError, IndexError) as error:
            raise InstaFaceError(f"{source.name}: line {line[:60]!r} cannot be read; download it again") from error
    if (vertices, len(uv), len(faces)) != (N_VERTICES, N_UV, N_FACES) or any(len(f) != 3 for f in faces):
        raise InstaFaceError(
            f"{source.name}: {vertices} vertices, {len(uv)} texture coordinates, {len(faces)} faces; "
            f"expected {N_VERTICES}, {N_UV}, {N_FACES} triangles: DECA's data/head_template.obj"
        )
    pairs = np.asarray(faces, np.int64)
    if pairs.min() < 0 or pairs[..., 0].max() >= N_VERTICES or pairs[..., 1].max() >= N_UV:
        raise InstaFaceError(f"{source.name}: a face points outside of the file; download it again")
    arrays: Arrays = {
        "uv": np.asarray(uv, np.float32),
        "uv_faces": np.ascontiguousarray(pairs[..., 1]),
        "faces": np.ascontiguousarray(pairs[..., 0]),
    }
    return Converted(arrays)


_MASKS = (
    *("face", "forehead", "nose", "lips", "eye_region", "scalp", "neck", "boundary"),
    *(f"{side}_{part}" for side in ("left", "right") for part in ("eye_region", "eyeball", "ear")),
)


def _flame_masks(source: Source) -> Converted:
    """Regions as vertex indices."""
    keys = sorted(source.keys)
    notes = _unused(source, set(_MASKS))
    missing = sorted(set(_MASKS) - source.keys)
    if missing:
        notes.append(f"regions missing: {', '.join(missing)}")
    return Converted({k: _indices(source, k, (None,), N_VERTICES) for k in keys if k in _MASKS}, {}, notes)


def resnet50_layout(outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of DECA's encoder: torchvision's ResNet-50 without `fc`, then 2048 to 1024 to ``outputs``."""
    layout: dict[str, tuple[int, ...]] = {}

    def conv(name: str, out: int, inputs: int, size: int) -> None:
        layout[f"{name}.weight"] = (out, inputs, size, size)

    def norm(name: str, width: int) -> None:
        layout.update({f"{name}.{k}": (width,) for k in ("weight", "bias", "running_mean", "running_var")})
        layout[f"{name}.num_batches_tracked"] = ()

    conv("encoder.conv1", 64, 3, 7)
    norm("encoder.bn1", 64)
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        width = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"encoder.layer{stage}.{block}"
            for index, (out, into, size) in enumerate(
                ((width, inputs, 1), (width, width, 3), (4 * width, width, 1)), start=1
            ):
                conv(f"{name}.conv{index}", out, into, size)
                norm(f"{name}.bn{index}", out)
            if block == 0:
                conv(f"{name}.downsample.0", 4 * width, inputs, 1)
                norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    for index, (out, into) in ((0, (1024, 2048)), (2, (outputs, 1024))):
        layout[f"layers.{index}.weight"], layout[f"layers.{index}.bias"] = (out, into), (out,)
    return layout


def detail_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of DECA's detail decoder: 181 numbers to a displacement map."""
    layout: dict[str, tuple[int, ...]] = {"l1.0.weight": (8192, 181), "l1.0.bias": (8192,)}
    convs = {2: (128, 128), 6: (64, 128), 10: (64, 64), 14: (32, 64), 18: (16, 32), 21: (1, 16)}
    norms = {0: 128, 3: 128, 7: 64, 11: 64, 15: 32, 19: 16}
    for index, (out, into) in convs.items():
        layout[f"conv_blocks.{index}.weight"], layout[f"conv_blocks.{index}.bias"] = (out, into, 3, 3), (out,)
    for index, width in norms.items():
        for key in ("weight", "bias", "running_mean", "running_var"):
            layout[f"conv_blocks.{index}.{key}"] = (width,)
        layout[f"conv_blocks.{index}.num_batches_tracked"] = ()
    return layout


def _deca(source: Source) -> Converted:
    """Every tensor of the coarse encoder, and of the detail branch where it is there, under its published name."""
    arrays: Arrays = {}
    notes = []
    layouts = {"E_flame": resnet50_layout(236), "E_detail": resnet50_layout(128), "D_detail": detail_layout()}
    for entry, layout in layouts.items():
        found = source.content.get(entry)
        if found is None and entry != "E_flame":
            notes.append(f"no {entry}: details are not available")
            continue
        arrays |= {f"{entry}.{k}": v for k, v in _state_dict(source.name, entry, found, layout, notes).items()}
    return Converted(arrays, {}, notes + _unused(source, {*layouts, "opt", "global_step", "batch_size"}))


def _state_dict(name: str, entry: str, found: Any, layout: Mapping[str, tuple[int, ...]], notes: list[str]) -> Arrays:
    """The tensors of one network, each there and of its shape."""
    if not isinstance(found, dict):
        raise InstaFaceError(f"{name}: {entry} is not a dict of tensors; expected DECA's deca_model.tar")
    missing = [k for k in layout if k not in found]
    if missing:
        raise InstaFaceError(
            f"{name}: {entry} lacks {len(missing)} of {len(layout)} tensors, {missing[0]} the first; download it again"
        )
    extra = sorted(set(found) - set(layout))
    if extra:
        notes.append(f"{entry}: {len(extra)} tensors not used, {extra[0]} the first")
    out: Arrays = {}
    for key, shape in layout.items():
        value = np.asarray(found[key])
        if value.shape != shape or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise InstaFaceError(f"{name}: {entry}.{key} is {value.dtype} {value.shape}, expected finite {shape}")
        out[key] = np.ascontiguousarray(value, np.int64 if shape == () else np.float32)
    return out


def _has(form: str, keys: set[str]) -> Callable[[Source], bool]:
    return lambda source: source.form == form and keys <= source.keys


KINDS: tuple[Kind, ...] = (
    Kind(
        "flame",
        "FLAME head model (generic_model.pkl, 2020 or 2023)",
        "FLAME 2020: CC BY by the readme in its zip, others report non-commercial: check flame.is.tue.mpg.de; "
        "FLAME 2023 Open: CC BY 4.0 as reported",
        "a pickle with v_template, shapedirs, posedirs",
        lambda s: s.form == "pickle" and {"v_template", "shapedirs"} <= s.keys,
        _flame,
    ),
    Kind(
        "flame-landmarks",
        "68 landmarks on FLAME (DECA's data/landmark_embedding.npy)",
        "Max Planck, non-commercial research, no redistribution",
        "a NumPy file with static_, dynamic_ and full_lmk entries",
        _has("npy", _LANDMARK_KEYS),
        _flame_landmarks,
    ),
    Kind(
        "flame-mediapipe",
        "MediaPipe's 105 landmarks on FLAME (mediapipe_landmark_embedding.npz)",
        "Max Planck, non-commercial research, no redistribution",
        "an npz with lmk_face_idx, lmk_b_coords, landmark_indices",
        _has("npz", _MEDIAPIPE_KEYS),
        _flame_mediapipe,
    ),
    Kind(
        "flame-uv",
        "FLAME's texture coordinates (DECA's data/head_template.obj)",
        "Max Planck, non-commercial research, no redistribution",
        "an OBJ of 5023 vertices and 9976 faces",
        lambda s: s.form == "obj",
        _flame_uv,
    ),
    Kind(
        "flame-texture",
        "FLAME texture space (FLAME_texture.npz)",
        "non-commercial, as reported",
        "an npz with mean and tex_dir",
        _has("npz", {"mean", "tex_dir"}),
        _flame_texture,
    ),
    Kind(
        "bfm-texture",
        "Basel albedo converted to FLAME (FLAME_albedo_from_BFM.npz)",
        "Basel Face Model licence, no redistribution",
        "an npz with MU and PC",
        _has("npz", {"MU", "PC"}),
        _bfm_texture,
    ),
    Kind(
        "flame-masks",
        "regions of FLAME (FLAME_masks.pkl)",
        "Max Planck, non-commercial research, no redistribution",
        "a pickle with the regions face, lips, scalp, ...",
        lambda s: s.form == "pickle" and {"face", "lips", "scalp"} <= s.keys,
        _flame_masks,
    ),
    Kind(
        "deca",
        "DECA's weights (deca_model.tar)",
        "Max Planck, non-commercial research, no redistribution, no training for commercial use",
        "a torch checkpoint with E_flame",
        lambda s: s.form in ("torch", "torch-legacy") and "E_flame" in s.keys,
        _deca,
    ),
)
"""All kinds, in the order in which they are tried."""
