"""Our mesh: a symmetric subset of the source's vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from openhead.decimate import decimate
from openhead.source import ARKIT_NAMES, IBUG_VERTICES, PARTS, Source, tongue_mask

# Vertices to keep of one half, midline included.
TARGETS = {"skin": 3500, "mouth": 170, "eye_sockets": 90, "gums": 420, "teeth": 560, "eye_left": 300}
EYE_DEGREES = 115.0  # eyeballs are open behind: further than this from the pole nothing is ever seen
# What the error is summed over, besides the neutral face.
POSES = (
    {"jawOpen": 0.8, "tongue": 1.0},
    {"eyeBlinkLeft": 1.0, "browInnerUp": 1.0, "mouthFunnel": 1.0},
    {"mouthSmileLeft": 1.0, "cheekSquintLeft": 1.0, "noseSneerLeft": 1.0},
    {"mouthPucker": 1.0, "browDownLeft": 1.0, "eyeWideLeft": 1.0},
    {"cheekPuff": 1.0, "mouthPressLeft": 1.0, "browOuterUpLeft": 1.0},
    {"mouthRollLower": 1.0, "mouthRollUpper": 1.0, "eyeLookDownLeft": 1.0},
)


@dataclass(frozen=True)
class Topology:
    """
    Attributes:
        kept: (V,) source vertex of each of our vertices: left half and midline first, then their mirror images.
        triangles: (F, 3) into our vertices.
        symmetry: (V,) our vertex on the other side.
        part: (F,) name of each triangle's part: a key of ``PARTS``, or ``skin`` for face and head.
    """

    kept: NDArray[np.int64]
    triangles: NDArray[np.int64]
    symmetry: NDArray[np.int64]
    part: NDArray[np.str_]


def distance_from(
    seeds: NDArray[np.int64], triangles: NDArray[np.int64], vertices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) distances in centimetres along edges from the nearest of ``seeds``; infinite where not connected."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    graph = coo_matrix((length + 1e-9, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2).tocsr()
    return dijkstra(graph, directed=False, indices=seeds, min_only=True)


def rim(source: Source, inner: str) -> NDArray[np.int64]:
    """Face vertices on the line where the face meets the part ``inner`` (a socket)."""
    names = list(PARTS)
    face, inside = names.index("face"), names.index(inner)
    triangles = source.triangles[(source.part[source.triangles] == inside).any(1)]
    touching = np.unique(triangles)
    return touching[source.part[touching] == face]


def build_topology(source: Source) -> Topology:
    """Decimates the left half part by part and mirrors it."""
    x, mirror = source.neutral, source.mirror
    names = list(PARTS)
    half = np.zeros(len(x), bool)
    half[np.unique(source.triangles)] = True
    midline = half & (mirror == np.arange(len(x)))
    half &= (x[:, 0] > 0) | midline
    part = source.part[source.triangles].max(1)  # a triangle that bridges face and socket is the socket's
    half_triangle = half[source.triangles].all(1)
    locked, weight = importance(source)
    poses = np.stack([x, *(pose(source, weights) for weights in POSES)])
    pieces, labels = [], []
    for name, target in TARGETS.items():
        chosen = np.isin(part, [0, 1]) if name == "skin" else part == names.index(name)
        triangles = source.triangles[chosen & half_triangle]
        if name == "eye_left":
            triangles = open_behind(x, triangles)
        hold = locked | seams(source, part)
        triangles = decimate(poses, triangles, target, hold, weight)
        pieces.append(triangles)
        labels.append(np.full(len(triangles), name))
    triangles, label = np.concatenate(pieces), np.concatenate(labels)
    left = np.unique(triangles)
    kept = np.concatenate([left, mirror[left[~midline[left]]]])
    ours = np.full(len(x), -1)
    ours[kept] = np.arange(len(kept))
    symmetry = ours[mirror[kept]]
    triangles = ours[triangles]
    other = np.where(label == "eye_left", "eye_right", label)
    return Topology(
        kept, np.concatenate([triangles, symmetry[triangles][:, ::-1]]), symmetry, np.concatenate([label, other])
    )


def open_behind(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    """An eyeball without its back."""
    used = np.unique(triangles)
    centre = (vertices[used].min(0) + vertices[used].max(0)) / 2
    direction = vertices - centre
    angle = np.degrees(np.arccos(np.clip(direction[:, 2] / (np.linalg.norm(direction, axis=1) + 1e-9), -1, 1)))
    return triangles[(angle[triangles] < EYE_DEGREES).all(1)]


def pose(source: Source, weights: dict[str, float]) -> NDArray[np.float64]:
    out = source.neutral.copy()
    for name, weight in weights.items():
        if name in ARKIT_NAMES[:-1]:
            out += weight * source.expression[ARKIT_NAMES.index(name)]
    return out


def seams(source: Source, part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) vertices of the face that a socket's triangles also use: both sides must keep them."""
    out = np.zeros(len(source.neutral), bool)
    for inner in ("mouth", "eye_sockets"):
        used = np.unique(source.triangles[part == list(PARTS).index(inner)])
        out[used[source.part[used] == 0]] = True
    return out


def importance(source: Source) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(N,) vertices never dropped and (N,) weight of the error elsewhere: dense where contours carry meaning."""
    x = source.neutral
    skin = source.triangles[np.isin(source.part[source.triangles], [0, 1]).all(1)]
    to_lid = distance_from(rim(source, "eye_sockets"), skin, x)
    to_lip = distance_from(rim(source, "mouth"), skin, x)
    locked = np.zeros(len(x), bool)
    locked[(to_lid < 0.25) | (to_lip < 0.08)] = True
    locked[IBUG_VERTICES] = True
    # Of each 68-point landmark the mirror image too, so that halves agree.
    locked[source.mirror[IBUG_VERTICES]] = True
    weight = np.ones(len(x))
    weight[source.part == list(PARTS).index("head")] = 0.25
    weight[(source.part == 0) & (x[:, 1] < -9.5)] = 0.25  # throat
    weight[(source.part == 0) & (x[:, 1] > 9.0)] = 0.4  # under the hair
    weight[(source.part == 0) & ((to_lid < 1.2) | (to_lip < 1.2))] = 2.0
    weight[(source.part == 0) & (np.abs(x[:, 0]) < 2.2) & (x[:, 1] > -1.5) & (x[:, 1] < 2.5) & (x[:, 2] > 9)] = (
        1.5  # nose
    )
    weight[tongue_mask(source)] = 2.0
    weight[(source.part == 0) & (np.abs(x[:, 0]) > 7.3) & (x[:, 2] < 2.0)] = 1.5  # ears
    front = np.isin(source.part, [list(PARTS).index("eye_left"), list(PARTS).index("eye_right")]) & (x[:, 2] > 8.3)
    weight[front] = 4.0
    return locked, weight
