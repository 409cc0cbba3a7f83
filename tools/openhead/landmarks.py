"""Where MediaPipe Face Mesh sees its landmarks on our mesh.

Random heads are rendered, the detector is run on the pictures, and each landmark is cast back onto the rendered mesh
and from there to the mean face, where the median over all heads is taken, made symmetric and snapped to the surface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from openhead.bases import Bases
from openhead.raster import rasterise
from openhead.source import ARKIT_NAMES

SIZE = 640
N_LANDMARKS = 478
IRIS_RIGHT, IRIS_LEFT = range(468, 473), range(473, 478)  # the subject's sides
# fmt: off
INNER_UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
INNER_LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
GROUPS = {
    "outline": (
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ),
    "lids": (
        33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7, 263, 466, 388, 387, 386, 385, 384,
        398, 362, 382, 381, 380, 374, 373, 390, 249,
    ),
    "lips": (
        61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375, 78, 308,
        *INNER_UPPER_LIP, *INNER_LOWER_LIP,
    ),
    "brows": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    "irises": (*IRIS_RIGHT, *IRIS_LEFT),
}
# fmt: on


@dataclass(frozen=True)
class Head:
    """What a render needs of the mesh."""

    bases: Bases
    triangles: NDArray[np.int64]
    uv: NDArray[np.float32]
    uv_faces: NDArray[np.int64]
    texture: NDArray[np.float64]  # (S, S, 3) sRGB
    regions: dict[str, NDArray[np.bool_]]
    part: NDArray[np.str_]

    @classmethod
    def from_model(cls, model) -> Head:  # type: ignore[no-untyped-def]
        """The head of a finished ``OpenHead``, in its hand-painted albedo."""
        masks = {name: np.isin(np.arange(len(model.mean)), index.numpy()) for name, index in model.regions.items()}
        arrays = (model.mean, model.identity, model.expression, model.eye_centre, model.eye_centre_identity)
        return cls(
            Bases(*(array.numpy().astype(np.float64) for array in arrays)),
            model.faces.numpy(),
            model.uv.numpy(),
            model.uv_faces.numpy(),
            model.painted_albedo.permute(1, 2, 0).numpy().astype(np.float64) ** (1 / 2.2),
            masks,
            np.array(model.part_names)[model.part_labels.numpy()],
        )


@dataclass(frozen=True)
class Render:
    """A picture (S, S, 3) uint8, the projected vertices, and triangle and weights of every pixel."""

    image: NDArray[np.uint8]
    projected: NDArray[np.float64]
    face: NDArray[np.int64]
    weight: NDArray[np.float64]


def random_vertices(head: Head, rng: np.random.Generator, mouth: bool) -> NDArray[np.float64]:
    """A random identity, mouth open or with a mild expression."""
    bases = head.bases
    out = bases.mean + np.tensordot(rng.normal(0, 0.8, len(bases.identity)), bases.identity, 1)
    weights = np.zeros(len(bases.expression))
    if mouth:
        weights[ARKIT_NAMES.index("jawOpen")] = rng.uniform(0.15, 0.45)
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        weights[ARKIT_NAMES.index(name)] = 0.3 * rng.uniform() ** 2
    return out + np.tensordot(weights, bases.expression, 1)


def render(head: Head, vertices: NDArray[np.float64], rng: np.random.Generator, yaw: float, pitch: float) -> Render:
    """Perspective render on a grey background with a random skin tone and light."""
    y, p = np.deg2rad([yaw, pitch])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    rotation = turn @ nod
    posed = (vertices - [0, 0, 2]) @ rotation.T + [0, 0, -75]
    focal = 2.6 * SIZE  # the face fills half of the picture
    depth = -posed[:, 2]
    projected = np.column_stack([SIZE / 2 + focal * posed[:, 0] / depth, SIZE / 2 - focal * posed[:, 1] / depth, depth])
    _, face, weight = rasterise(projected, head.triangles, SIZE, SIZE)
    return Render(shade(head, posed, face, weight, rng), projected, face, weight)


def shade(head: Head, posed: NDArray, face: NDArray, weight: NDArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    triangles = head.triangles
    a, b, c = (posed[triangles[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    normals = np.zeros_like(posed)
    for k in range(3):
        np.add.at(normals, triangles[:, k], flat)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    covered = face >= 0
    hit, w = face[covered], weight[covered]
    n = np.einsum("nk,nkc->nc", w, normals[triangles[hit]])
    at = np.einsum("nk,nkc->nc", w, head.uv[head.uv_faces[hit]])
    size = len(head.texture)
    i = np.clip(((1 - at[:, 1]) * size).astype(int), 0, size - 1)
    j = np.clip((at[:, 0] * size).astype(int), 0, size - 1)
    colour = head.texture[i, j] ** 2.2
    skin = np.isin(head.part[hit], ["skin"])
    colour[skin] *= rng.uniform(0.25, 1.1) * (1 + rng.normal(0, 0.04, 3))
    hair = np.einsum("nk,nk->n", w, head.regions["scalp"].astype(float)[triangles[hit]]) > 0.5
    colour[hair] = rng.uniform(0.01, 0.12) * np.array([1, 0.8, 0.65])
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.1, 0.8), 1.0])
    light = 0.35 + 0.75 * np.clip(n @ (direction / np.linalg.norm(direction)), 0, 1)
    image = np.full((SIZE, SIZE, 3), rng.uniform(0.3, 0.7))
    image[covered] = np.clip(colour * light[:, None], 0, 1) ** (1 / 2.2)
    return (255 * image + 0.5).astype(np.uint8)


def detect(images: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float64] | None]:
    """(478, 2) landmarks in pixels of each picture, None where no face is found."""
    import mediapipe

    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1) as mesh:
        for image in images:
            found = mesh.process(image).multi_face_landmarks
            if not found:
                yield None
                continue
            height, width = image.shape[:2]
            yield np.array([[p.x * width, p.y * height] for p in found[0].landmark])


def cast(head: Head, shot: Render, points: NDArray[np.float64], lower: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(478, 3) places on the mean face under landmarks (478, 2) of a render; NaN outside of the picture.

    A landmark off its surface (skin, lower or upper lip, eyeball) takes that surface's nearest pixel.
    """
    surfaces = {
        "skin": head.part == "skin",
        "upper": (head.part == "skin") & ~lower,
        "lower": (head.part == "skin") & lower,
    }
    out = np.full((N_LANDMARKS, 3), np.nan)
    mean = head.bases.mean

    def look_up(face: NDArray, weight: NDArray, allowed: NDArray, indices: list[int]) -> None:
        good = (face >= 0) & allowed[np.maximum(face, 0)]
        if not good.any():
            return
        near = distance_transform_edt(~good, return_distances=False, return_indices=True)
        pixel = np.clip(np.floor(points[indices][:, ::-1]).astype(int), 0, SIZE - 1)
        i, j = near[:, pixel[:, 0], pixel[:, 1]]
        out[indices] = np.einsum("nk,nkc->nc", weight[i, j], mean[head.triangles[face[i, j]]])

    upper_points, lower_points = list(INNER_UPPER_LIP), list(INNER_LOWER_LIP)
    rest = [k for k in range(468) if k not in upper_points and k not in lower_points]
    look_up(shot.face, shot.weight, surfaces["skin"], rest)
    look_up(shot.face, shot.weight, surfaces["upper"], upper_points)
    look_up(shot.face, shot.weight, surfaces["lower"], lower_points)
    for side, ring in (("left", IRIS_LEFT), ("right", IRIS_RIGHT)):
        eye = head.part == f"eye_{side}"
        _, face, weight = rasterise(shot.projected, head.triangles[eye], SIZE, SIZE)
        face = np.where(face >= 0, np.flatnonzero(eye)[np.maximum(face, 0)], -1)
        look_up(face, weight, eye, list(ring))
    return out


def collect(head: Head, count: int, seed: int, lower: NDArray[np.bool_], mouth: bool) -> NDArray[np.float64]:
    """(n, 478, 3) casts of the heads where a face was found."""
    rng = np.random.default_rng(seed)
    shots = []
    for _ in range(count):
        vertices = random_vertices(head, rng, mouth)
        shots.append(render(head, vertices, rng, rng.uniform(-12, 12), rng.uniform(-8, 8)))
    found = detect(shot.image for shot in shots)
    return np.stack([cast(head, s, p, lower) for s, p in zip(shots, found, strict=True) if p is not None])


def mirror_map(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """(L,) the landmark on the other side."""
    distance = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=-1)
    other = linear_sum_assignment(distance + distance.T)[1]
    assert (other[other] == np.arange(len(points))).all()
    return other


def mediapipe_points(head: Head, lower: NDArray[np.bool_], count: int, seed: int = 1) -> NDArray[np.float64]:
    """(478, 3) symmetric places on the mean face."""
    closed = np.nanmedian(collect(head, count, seed, lower, mouth=False), 0)
    opened = np.nanmedian(collect(head, count, seed + 1, lower, mouth=True), 0)
    points = closed
    inner = [*INNER_UPPER_LIP, *INNER_LOWER_LIP]
    points[inner] = opened[inner]
    other = mirror_map(points)
    return 0.5 * (points + points[other] * [-1, 1, 1])


def reprojection_errors(head: Head, model, count: int, seed: int) -> dict[str, tuple[float, float]]:  # type: ignore[no-untyped-def]
    """Detected landmarks against the model's own on renders of random heads, half of them with an expression.

    Returns:
        Group of landmarks to mean distance and mean length of each landmark's mean offset (what is systematic), in
        percent of the distance between the eyes' middles.
    """
    import torch

    rng = np.random.default_rng(seed)
    shots, expected = [], []
    for k in range(count):
        parameters = model.neutral()
        parameters.identity[:] = torch.from_numpy(rng.normal(0, 0.8, model.n_identity))
        for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "browInnerUp"):
            parameters.expression[:, ARKIT_NAMES.index(name)] = (k % 2) * rng.uniform(0, 0.8) * (rng.uniform() < 0.4)
        parameters.gaze[:] = torch.from_numpy(rng.uniform(-12, 12, 2))
        parameters.translation[:] = model.neck_joint
        vertices = model.vertices(parameters)
        shot = render(head, vertices[0].numpy().astype(np.float64), rng, rng.uniform(-20, 20), rng.uniform(-12, 12))
        shots.append(shot)
        projected = torch.from_numpy(shot.projected)[None].float()
        expected.append(model.landmarks(projected, "mediapipe")[0, :, :2].numpy())
    offsets = []
    for points, want in zip(detect(shot.image for shot in shots), expected, strict=True):
        if points is not None:
            size = np.linalg.norm(want[[33, 133]].mean(0) - want[[263, 362]].mean(0))
            offsets.append(100 * (points - want) / size)
    offset = np.stack(offsets)
    groups = {**GROUPS, "all": range(N_LANDMARKS)}
    return {
        name: (
            float(np.linalg.norm(offset[:, list(group)], axis=-1).mean()),
            float(np.linalg.norm(offset[:, list(group)].mean(0), axis=-1).mean()),
        )
        for name, group in groups.items()
    }


def snap(
    points: NDArray[np.float64], vertices: NDArray[np.float64], triangles: NDArray[np.int64], allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest place on the allowed triangles: (L,) triangle and (L, 3) weights."""
    candidates = np.flatnonzero(allowed)
    corners = vertices[triangles[candidates]]
    near = cKDTree(corners.mean(1)).query(points, k=min(40, len(candidates)))[1]
    face, weight = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
    for i, (point, options) in enumerate(zip(points, near, strict=True)):
        weights = np.stack([closest_weights(point, corners[k]) for k in options])
        distance = np.linalg.norm(np.einsum("nk,nkc->nc", weights, corners[options]) - point, axis=1)
        best = int(distance.argmin())
        face[i], weight[i] = candidates[options[best]], weights[best]
    return face, weight


def closest_weights(point: NDArray[np.float64], triangle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Barycentric weights of the point of a triangle nearest to ``point``."""
    a, b, c = triangle
    basis = np.stack([b - a, c - a], 1)
    s, t = np.linalg.lstsq(basis, point - a, rcond=None)[0]
    if s >= 0 and t >= 0 and s + t <= 1:
        return np.array([1 - s - t, s, t])
    best, out = np.inf, np.zeros(3)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = triangle[i], triangle[j]
        r = np.clip((point - p) @ (q - p) / ((q - p) @ (q - p) + 1e-18), 0, 1)
        distance = np.linalg.norm(p + r * (q - p) - point)
        if distance < best:
            best, out = distance, np.zeros(3)
            out[i], out[j] = 1 - r, r
    return out
