"""Closed eyelids, of which a photo of open eyes shows next to nothing but lashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from instaface.draft.fill import smoothstep
from instaface.face import FaceParameters, MorphableModel

Array = NDArray[np.float32]

BLINK = ("eyeBlinkLeft", "eyeBlinkRight")
FOLDED = 1.3, 2.2  # growth of a lid's area as it closes, from what the photo shows to what lies folded away in it
MOVING = 0.2, 0.5  # of the closing lid's longest way: where lashes may cover what lies above the fold
LASH_REACH = 0.05, 0.25  # centimetres that lashes reach up over the skin above the fold
REACH = 1.5  # centimetres from the lids' edge within which skin belongs to them
LASHES = 0.2, 0.5  # centimetres from the lower lid over which the line of the closed upper lid's lashes fades
LASH_DARKNESS = 0.7


@dataclass(frozen=True)
class Lids:
    """The closing eyelids of V vertices of a face model.

    Attributes:
        hidden: (V,) float32 0..1, how far the open eye hides a point of its lid, in the fold or by its lashes.
        lashes: (V,) float32 0..1, how dark the line of the lashes is.
        leader: (V,) int64 the vertex whose way tells how far the lid has closed; that itself off the lids.
        way: (V, 3) float32 the leader's way until the lid is closed, in the unposed head; zero off the lids.
        start: (V, 3) float32 where the leader was in the photo, in the unposed head.
    """

    hidden: Array
    lashes: Array
    leader: NDArray[np.int64]
    way: Array
    start: Array

    def closing(self, vertices: Array) -> Array:
        """(V,) share of its way to closed lids that each vertex's lid has gone, from (V, 3) of the unposed head."""
        gone = ((vertices[self.leader] - self.start) * self.way).sum(1)
        return gone / np.maximum((self.way**2).sum(1), 1e-9)

    @classmethod
    def of(cls, model: MorphableModel, parameters: FaceParameters, skin: NDArray[np.bool_]) -> Lids:
        """Of a tracked face, with (F,) triangles of its skin, whose border around the eyes is the lids' edge."""
        count = len(model.head_weight)
        hidden, lashes, leader = np.zeros(count, np.float32), np.zeros(count, np.float32), np.arange(count)
        way, still = np.zeros((count, 3), np.float32), at_rest(parameters)
        if "eyelids" not in model.regions or not set(BLINK) <= set(model.expression_names):
            return cls(hidden, lashes, leader, way, way)
        shut = still.expression + 0  # a copy
        shut[:, [model.expression_names.index(name) for name in BLINK]] = 1
        before, after = (np.asarray(model.vertices(p)[0]) for p in (still, still.replace(expression=shut)))
        faces = np.asarray(model.faces)[skin]
        eyelids = np.zeros(count, bool)
        eyelids[np.asarray(model.regions["eyelids"])] = True
        edge = _border(faces[eyelids[faces].any(1)])
        edge = edge[eyelids[edge]]
        if not len(edge):
            return cls(hidden, lashes, leader, way, way)
        lids = np.unique(faces)
        lids = lids[cKDTree(before[edge]).query(before[lids])[0] < REACH]
        near = faces[np.isin(faces, lids).any(1)]
        total = [np.bincount(near.ravel(), np.repeat(_areas(v, near), 3), count) for v in (before, after)]
        growth = (total[1][lids] + 1e-4) / (total[0][lids] + 1e-4)
        gone = after - before
        length = np.linalg.norm(gone[lids], axis=1)
        moving = smoothstep(length / max(float(length.max()), 0.1), *MOVING)
        hidden[lids] = np.maximum(smoothstep(growth, *FOLDED), moving)
        sure = lids[hidden[lids] > 0.5]
        if len(sure):
            distance, nearest = cKDTree(before[sure]).query(before[lids])
            above = before[lids, 1] > before[sure[nearest], 1]
            hidden[lids] = np.maximum(hidden[lids], above * (1 - smoothstep(distance.astype(np.float32), *LASH_REACH)))
        left = before[lids, 0] > 0
        for side in (left, ~left):
            leader[lids[side]] = lids[side][length[side].argmax()]
        way[lids] = gone[leader[lids]]
        upper, lower = lids[moving > 0.5], lids[(moving < 0.5) & (before[lids, 1] < before[edge, 1].mean())]
        if len(upper) and len(lower):
            apart = cKDTree(after[lower]).query(after[upper])[0].astype(np.float32)
            lashes[upper] = LASH_DARKNESS * (1 - smoothstep(apart, *LASHES))
        return cls(hidden, lashes, leader, way, before[leader])


def _areas(points: Array, faces: NDArray[np.int64]) -> Array:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _border(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Vertices of edges that belong to one triangle only."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    single, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(single[count == 1])


def at_rest(parameters: FaceParameters) -> FaceParameters:
    """The same face unturned, its neck joint in the origin."""
    still = 0 * parameters.head
    return parameters.replace(head=still, body=still, translation=still)
