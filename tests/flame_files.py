"""Files of the structure and sizes that FLAME and DECA publish, with made-up content."""

from __future__ import annotations

import io
import pickle
import sys
import types
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

N_HEAD, N_EYE, N_VERTICES, N_FACES, N_UV = 3931, 546, 5023, 9976, 5118


def _ball(rings: int, segments: int, south_pole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors and outward triangles from the north pole down; open at the bottom without a south pole."""
    polar = np.pi * np.arange(1, rings + 1) / (rings + 1)
    around = 2 * np.pi * np.arange(segments) / segments
    p, a = np.meshgrid(polar, around, indexing="ij")
    points = np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], -1).reshape(-1, 3)
    points = np.concatenate([[[0.0, 1.0, 0.0]], points])
    ring = lambda r, s: 1 + r * segments + s % segments  # noqa: E731
    faces = [(0, ring(0, s), ring(0, s + 1)) for s in range(segments)]
    for r in range(rings - 1):
        for s in range(segments):
            a, b, c, d = ring(r, s), ring(r, s + 1), ring(r + 1, s), ring(r + 1, s + 1)
            faces += [(a, c, b), (b, c, d)]
    if south_pole:
        points = np.concatenate([points, [[0.0, -1.0, 0.0]]])
        faces += [(len(points) - 1, ring(rings - 1, s + 1), ring(rings - 1, s)) for s in range(segments)]
    return points, np.array(faces)


@cache
def _topology() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (5023, 3) in metres in FLAME's axes, and faces (9976, 3), numbered as FLAME numbers its parts."""
    head, faces = _ball(65, 60, south_pole=False)
    centres = np.arange(400, 430) * 7  # thirty triangles split in three bring the head to FLAME's numbers
    middle = len(head) + np.arange(30)
    a, b, c = faces[centres].T
    head = np.concatenate([head, head[faces[centres]].mean(1)])
    split = [np.stack(t, -1) for t in ((a, b, middle), (b, c, middle), (c, a, middle))]
    faces = np.concatenate([np.delete(faces, centres, 0), *split])
    head = head * [0.085, 0.16, 0.1] + [0, -0.03, -0.02]
    bump = np.exp(-((head[:, 0] / 0.015) ** 2) - ((head[:, 1] + 0.03) / 0.02) ** 2) * (head[:, 2] > 0)
    head[:, 2] += 0.02 * bump  # a nose
    eye, eye_faces = _ball(17, 32, south_pole=True)
    eyes = [eye * 0.012 + [x, 0.02, 0.063] for x in (0.032, -0.032)]
    vertices = np.concatenate([head, *eyes])
    parts = [faces, eye_faces + N_HEAD, eye_faces + N_HEAD + N_EYE]
    return vertices, np.concatenate(parts)


@cache
def flame(seed: int = 0) -> dict[str, np.ndarray]:
    """A model with FLAME's entries and shapes, float64, dense."""
    rng = np.random.default_rng(seed)
    vertices, faces = _topology()
    assert vertices.shape == (N_VERTICES, 3) and faces.shape == (N_FACES, 3)
    # Smooth displacements: random plane waves over the template.
    waves = rng.normal(size=(400, 3)) * 25
    phase = np.sin(vertices @ waves.T + rng.uniform(0, 6, 400))
    shapedirs = phase[:, None] * rng.normal(size=(3, 400)) * 0.001
    posedirs = (np.sin(vertices @ rng.normal(size=(3, 36)) * 20)[:, None] * rng.normal(size=(3, 36))) * 0.001
    joints = np.array(
        [[0, -0.12, -0.02], [0, -0.07, -0.03], [0, -0.03, 0.0], [0.032, 0.02, 0.063], [-0.032, 0.02, 0.063]]
    )
    regressor = np.zeros((5, N_VERTICES))
    for j, joint in enumerate(joints):
        near = np.argsort(((vertices - joint) ** 2).sum(1))[:60]
        regressor[j, near] = rng.dirichlet(np.ones(60))
    weights = np.zeros((N_VERTICES, 5))
    y, z = vertices[:, 1], vertices[:, 2]
    up = np.clip((y + 0.15) / 0.06, 0, 1)
    jaw = np.clip((-0.04 - y) / 0.04, 0, 1) * np.clip(z / 0.04, 0, 1) * up
    weights[:, 0], weights[:, 1], weights[:, 2] = 1 - up, up - jaw, jaw
    weights[N_HEAD : N_HEAD + N_EYE] = np.eye(5)[3]
    weights[N_HEAD + N_EYE :] = np.eye(5)[4]
    return {
        "v_template": vertices,
        "f": faces.astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "J": regressor @ vertices,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }


# --- Python 2 pickles ---


class _Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 does: as byte strings, binary data too."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _string(self, data: bytes) -> None:
        if len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(data)

    def save_bytes(self, data: bytes) -> None:
        self._string(data)

    def save_text(self, text: str) -> None:
        self.write(b"U" + bytes([len(text)]) + text.encode("ascii"))
        self.memoize(text)

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text


def dumps_python2(value: Any) -> bytes:
    """Protocol 2, as Python 2's cPickle writes it."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2, fix_imports=True).dump(value)
    return buffer.getvalue()


@contextmanager
def fake_classes():
    """Classes of the paths `chumpy.ch.Ch` and `scipy.sparse.csc.csc_matrix`, for writing alone."""
    made = {}
    for path, name in (("chumpy.ch", "Ch"), ("scipy.sparse.csc", "csc_matrix")):
        made[name] = type(name, (), {"__module__": path})
    modules = {p: types.ModuleType(p) for p in ("chumpy", "chumpy.ch", "scipy.sparse.csc")}
    modules["chumpy.ch"].Ch = made["Ch"]
    modules["scipy.sparse.csc"].csc_matrix = made["csc_matrix"]
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield made["Ch"], made["csc_matrix"]
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def chumpy_model(model: dict[str, np.ndarray], ch: type, csc: type, **extra: Any) -> dict[str, Any]:
    """The model as the published pickle holds it: some arrays in chumpy objects, the regressor sparse by columns."""
    out: dict[str, Any] = dict(model) | {"bs_style": "lbs", "bs_type": "lrotmin"}
    for key in ("v_template", "shapedirs", "weights", "J"):
        instance = ch()
        instance.__dict__ = {"x": model[key], "_dirty_vars": {"x"}, "_itr": None, "_depends_on_deps": {}, **extra}
        out[key] = instance
    import scipy.sparse

    matrix = scipy.sparse.csc_matrix(model["J_regressor"])
    sparse = csc()
    sparse.__dict__ = {
        "_shape": (5, N_VERTICES),
        "format": "csc",
        "maxprint": 50,
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
    }
    out["J_regressor"] = sparse
    return out


def write_flame(path: Path, model: dict[str, np.ndarray] | None = None) -> Path:
    """`generic_model.pkl`."""
    with fake_classes() as (ch, csc):
        path.write_bytes(dumps_python2(chumpy_model(model or flame(), ch, csc)))
    return path


# --- the other files ---


def landmarks(seed: int = 0) -> dict[str, Any]:
    """`landmark_embedding.npy`'s dict: points of the face's front, on triangles; the contour moves with yaw."""
    import torch

    vertices, faces = _topology()
    rng = np.random.default_rng(seed)
    centres = vertices[faces[:7800]].mean(1)
    inner = np.stack([rng.uniform(-0.045, 0.045, 51), rng.uniform(-0.1, 0.04, 51), np.full(51, 0.08)], -1)

    def nearest(points: np.ndarray) -> np.ndarray:
        return ((centres[None] - points[:, None]) ** 2).sum(-1).argmin(1)

    def bary(*shape: int) -> np.ndarray:
        return rng.dirichlet(np.ones(3), shape)

    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    rows = []
    for row in range(79):
        yaw = np.deg2rad(row if row <= 39 else 39 - row)
        jaw = np.stack([0.085 * np.sin(angle), -0.06 - 0.08 * np.cos(angle), 0.02 + 0.0 * angle], -1)
        jaw[:, 2] += 0.05 * np.sin(yaw) * np.sin(angle)
        rows.append(nearest(jaw))
    static, static_bary = nearest(inner), bary(51)
    dynamic, dynamic_bary = np.stack(rows), bary(79, 17)
    return {
        "static_lmk_faces_idx": static.astype(np.uint32),
        "static_lmk_bary_coords": static_bary,
        "dynamic_lmk_faces_idx": torch.from_numpy(dynamic),
        "dynamic_lmk_bary_coords": torch.from_numpy(dynamic_bary).float(),
        "full_lmk_faces_idx": np.concatenate([dynamic[0], static])[None],
        "full_lmk_bary_coords": np.concatenate([dynamic_bary[0], static_bary])[None],
    }


def write_landmarks(path: Path, embedding: dict[str, Any] | None = None) -> Path:
    """`landmark_embedding.npy`: a 0-d object array with a dict, two entries of it torch tensors."""
    np.save(path, np.array(embedding or landmarks(), dtype=object), allow_pickle=True)
    return path


def write_mediapipe(path: Path) -> Path:
    """`mediapipe_landmark_embedding.npz`."""
    rng = np.random.default_rng(3)
    np.savez(
        path,
        lmk_face_idx=rng.integers(0, 7800, 105),
        lmk_b_coords=rng.dirichlet(np.ones(3), 105),
        landmark_indices=rng.permutation(478)[:105],
    )
    return path


def write_texture(path: Path, bfm: bool, components: int = 51) -> Path:
    """`FLAME_texture.npz` or `FLAME_albedo_from_BFM.npz`, with fewer components; blue, green, red."""
    rng = np.random.default_rng(4)
    ramp = np.linspace(0.2, 0.9, 512)
    mean = np.stack(
        [0.5 * ramp[:, None] + 0 * ramp, 0.3 + 0.3 * ramp + 0 * ramp[:, None], np.full((512, 512), 0.8)], -1
    )
    basis = np.zeros((512, 512, 3, components), np.float32)
    basis[::16, ::16] = rng.normal(size=(32, 32, 3, components)) * 0.01
    if bfm:
        np.savez_compressed(path, MU=mean.reshape(-1), PC=basis.reshape(-1, components))
    else:
        np.savez_compressed(path, mean=mean * 255, tex_dir=basis * 255)
    return path


def write_template(path: Path) -> Path:
    """`head_template.obj`: FLAME's topology and texture coordinates, another head."""
    vertices, faces = _topology()
    x, y, z = vertices.T
    u = np.concatenate([0.5 + np.arctan2(x, z + 0.02)[:N_HEAD] / (2 * np.pi) * 0.98, np.zeros(2 * N_EYE)])
    v = np.concatenate([np.clip((y[:N_HEAD] + 0.2) / 0.36, 0, 0.85), np.zeros(2 * N_EYE)])
    for k, centre in enumerate((0.93, 0.07)):  # the eyeballs' islands: left eye at the right
        part = slice(N_HEAD + k * N_EYE, N_HEAD + (k + 1) * N_EYE)
        local = vertices[part] - vertices[part].mean(0)
        u[part], v[part] = centre + local[:, 0] * 4, 0.93 + local[:, 1] * 4
    back = np.concatenate([np.arange(60) * 60 + 31, np.arange(35)])[: N_UV - N_VERTICES]  # a seam behind the head
    uv = np.concatenate([np.stack([u, v], -1), np.stack([u[back], v[back]], -1)])
    lines = [f"v {a:.6f} {b + 1.5:.6f} {c:.6f}" for a, b, c in vertices]
    lines += [f"vt {a:.6f} {b:.6f}" for a, b in uv]
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in faces]
    path.write_text("mtllib head_template.mtl\n" + "\n".join(lines) + "\n")
    return path


def write_masks(path: Path) -> Path:
    """`FLAME_masks.pkl`."""
    vertices, _ = _topology()
    _, y, z = vertices.T
    names = ("face", "forehead", "nose", "lips", "eye_region", "scalp", "neck", "boundary")
    sides = [f"{s}_{p}" for s in ("left", "right") for p in ("eye_region", "eyeball", "ear")]
    masks = {name: np.flatnonzero((z > 0) & (y > -0.14)) for name in (*names, *sides)}
    masks["left_eyeball"] = np.arange(N_HEAD, N_HEAD + N_EYE)
    masks["right_eyeball"] = np.arange(N_HEAD + N_EYE, N_VERTICES)
    path.write_bytes(dumps_python2(masks))
    return path


# --- a stand-in that looks like a head ---


@cache
def head_like() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A model and its landmarks with FLAME's structure and OpenHead's looks: mean, identity and blendshapes.

    Each vertex of the made-up topology takes the place of the outer skin in its direction.
    """
    import torch
    from scipy.spatial import cKDTree

    from instaface.face import OpenHead
    from instaface.face.transfer import closest

    head = OpenHead.load()
    mean, neck = head.mean.double().numpy(), head.neck_joint.double().numpy()
    skin = head.regions["skin"].numpy()
    centre = np.array([0.0, 0.0, 1.0])
    arm = mean[skin] - centre
    radius = np.linalg.norm(arm, axis=1)
    ball, _ = _topology()
    towards = ball[:N_HEAD] - ball[:N_HEAD].mean(0)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    distance, near = cKDTree(arm / radius[:, None]).query(towards, k=8)
    outer = radius[near] >= radius[near].max(1, keepdims=True) - 0.7  # not the mouth's inside
    share = outer / np.maximum(distance, 1e-3) ** 2
    share /= share.sum(1, keepdims=True)

    def carry(values: np.ndarray) -> np.ndarray:
        """(..., V, C) of OpenHead to (..., 3931, C)."""
        return (values[..., skin[near], :] * share[..., None]).sum(-2)

    eyes = head.eye_centre.double().numpy()
    eye_ball = (ball[N_HEAD : N_HEAD + N_EYE] - ball[N_HEAD : N_HEAD + N_EYE].mean(0)) * 100
    template = np.concatenate([carry(mean), *(eye_ball + eye for eye in eyes)]) / 100
    basis = np.zeros((N_VERTICES, 3, 400))
    basis[:N_HEAD, :, :100] = np.moveaxis(carry(head.identity.double().numpy()), 0, -1) / 100
    centres = head.eye_centre_identity.double().numpy()
    for k in range(2):
        part = slice(N_HEAD + k * N_EYE, N_HEAD + (k + 1) * N_EYE)
        basis[part, :, :100] = centres[:, k].T / 100
    chosen = [k for k, name in enumerate(head.expression_names) if not name.startswith("eyeLook")][:50]
    basis[:N_HEAD, :, 300 : 300 + len(chosen)] = (
        np.moveaxis(carry(head.expression[chosen].double().numpy()), 0, -1) / 100
    )
    weights = np.zeros((N_VERTICES, 5))
    follows = carry(head.head_weight.double().numpy()[:, None])[:, 0]
    weights[:N_HEAD, 0], weights[:N_HEAD, 1] = 1 - follows, follows
    weights[N_HEAD : N_HEAD + N_EYE, 3] = weights[N_HEAD + N_EYE :, 4] = 1
    joints = np.concatenate([[neck - [0, 5, 0], neck, [0, -2, 3]], eyes]) / 100
    regressor = np.zeros((5, N_VERTICES))
    for j, joint in enumerate(joints):  # an affine combination of the nearest vertices that hits the joint
        close = np.argsort(((template - joint) ** 2).sum(1))[:400]
        system = np.concatenate([template[close].T, np.ones((1, 400))])
        regressor[j, close] = np.linalg.lstsq(system, np.append(joint, 1.0), rcond=None)[0]
    model = flame() | {
        "v_template": template,
        "shapedirs": basis,
        "posedirs": np.zeros((N_VERTICES, 3, 36)),
        "J_regressor": regressor,
        "J": joints,
        "weights": weights,
    }
    points = head.landmarks(torch.from_numpy(mean)[None].float(), "ibug")[0].double().numpy()
    faces, bary = closest(points, 100 * template, model["f"].astype(np.int64), np.arange(7800))
    embedding = {
        "static_lmk_faces_idx": faces[17:],
        "static_lmk_bary_coords": bary[17:],
        "dynamic_lmk_faces_idx": torch.from_numpy(np.tile(faces[:17], (79, 1))),
        "dynamic_lmk_bary_coords": torch.from_numpy(np.tile(bary[:17], (79, 1, 1))),
        "full_lmk_faces_idx": faces[None],
        "full_lmk_bary_coords": bary[None],
    }
    return model, embedding


def add_head_like(folder: Path) -> None:
    """Writes files of a head-like FLAME to a folder and adds them to the user's assets (``INSTAFACE_HOME``)."""
    from instaface import assets

    model, embedding = head_like()
    assets.add(write_flame(folder / "generic_model.pkl", model))
    assets.add(write_template(folder / "head_template.obj"))
    assets.add(write_landmarks(folder / "landmark_embedding.npy", embedding))
