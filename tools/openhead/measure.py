"""How far the model is from fresh samples of its source."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from openhead.source import ARKIT_NAMES, PARTS, Source
from openhead.topology import distance_from, rim

CANDIDATES = 16  # triangles tried for each vertex: those nearest to it in the neutral face
OPPOSITE_LOOKS = ("eyeLookIn", "eyeLookUp")  # never asked for together with their opposites, which they cancel


@dataclass(frozen=True)
class Errors:
    """Distances in millimetres from vertices of the source to the model's surface: (samples, vertices)."""

    face: NDArray[np.float64]
    lids: NDArray[np.float64]
    lips: NDArray[np.float64]


def fresh_errors(source: Source, model, count: int, seed: int) -> Errors:  # type: ignore[no-untyped-def]
    """Errors over ``count`` random identities with random expressions, none of them seen in learning.

    Args:
        source: the samples' source.
        model: an ``OpenHead``.
        count: number of samples.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    names = list(PARTS)
    face = np.flatnonzero((source.part == 0) & used(source))
    triangles = model.faces[model.part_faces["skin"]].numpy()
    corners = model.mean.numpy()[triangles]
    near = cKDTree(corners.mean(1)).query(source.neutral[face], k=CANDIDATES)[1]
    kept = cKDTree(source.neutral).query(model.mean.numpy())[1]
    pick, transfer = identity_transfer(source, model, kept)
    skin = source.triangles[np.isin(source.part[source.triangles], [0, names.index("head")]).all(1)]
    to_lid = distance_from(rim(source, "eye_sockets"), skin, source.neutral)[face]
    to_lip = distance_from(rim(source, "mouth"), skin, source.neutral)[face]
    errors = np.stack([one_error(source, model, face, triangles, near, transfer, pick, rng) for _ in range(count)])
    return Errors(errors, errors[:, to_lid < 0.1], errors[:, to_lip < 0.1])


def percentile(values: NDArray[np.float64], q: float) -> float:
    return float(np.percentile(values, q))


def used(source: Source) -> NDArray[np.bool_]:
    out = np.zeros(len(source.neutral), bool)
    out[source.triangles] = True
    return out


def identity_transfer(source: Source, model, kept: NDArray[np.int64]):  # type: ignore[no-untyped-def]
    """The vertices that are fitted, and the matrix (I, 100) from the source's coefficients to the model's."""
    pick = model.part_faces["skin"].numpy()
    pick = np.unique(model.faces[pick].numpy())
    ours = model.identity[:, pick].flatten(1).numpy().astype(np.float64)
    theirs = source.identity[:, kept[pick]].reshape(len(source.identity), -1).astype(np.float64)
    return pick, np.linalg.solve(ours @ ours.T, ours @ theirs.T)


def one_error(source, model, face, triangles, near, transfer, pick, rng):  # type: ignore[no-untyped-def]
    coefficients = rng.standard_normal(len(source.identity))
    weights = rng.uniform(0, 1, 52) * (rng.uniform(size=52) < 0.15)
    weights[[name.startswith(OPPOSITE_LOOKS) or name == "tongueOut" for name in ARKIT_NAMES]] = 0
    sample = source.neutral[face] + np.tensordot(coefficients, source.identity[:, face], 1)
    sample = sample + np.tensordot(weights[:-1], source.expression[:, face], 1)
    parameters = model.neutral()
    parameters.identity[:] = torch.from_numpy(transfer @ coefficients).float()
    parameters.expression[:] = torch.from_numpy(weights).float()
    closing = model.closing + parameters.identity @ model.closing_identity  # a blink of the source in the model's unit
    parameters.expression[:, model.blink_index] /= closing
    parameters.translation[:] = model.neck_joint
    vertices = model.vertices(parameters)[0].numpy().astype(np.float64)
    return 10 * surface_distances(sample, vertices[triangles], near)


@numba.njit(cache=True)
def surface_distances(points, corners, near):  # type: ignore[no-untyped-def]
    """(N,) distances of (N, 3) points to the nearest of their (N, K) candidates among (F, 3, 3) triangles."""
    out = np.empty(len(points))
    for i in range(len(points)):
        best = np.inf
        for k in near[i]:
            best = min(best, triangle_distance(points[i], corners[k, 0], corners[k, 1], corners[k, 2]))
        out[i] = np.sqrt(best)
    return out


@numba.njit(cache=True)
def triangle_distance(p, a, b, c):  # type: ignore[no-untyped-def]
    """Squared distance of a point to a triangle (Ericson 2005, "Real-time collision detection", 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = (ab * ap).sum(), (ac * ap).sum()
    if d1 <= 0 and d2 <= 0:
        return (ap * ap).sum()
    bp = p - b
    d3, d4 = (ab * bp).sum(), (ac * bp).sum()
    if d3 >= 0 and d4 <= d3:
        return (bp * bp).sum()
    cp = p - c
    d5, d6 = (ab * cp).sum(), (ac * cp).sum()
    if d6 >= 0 and d5 <= d6:
        return (cp * cp).sum()
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        r = ap - d1 / (d1 - d3) * ab
        return (r * r).sum()
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        r = ap - d2 / (d2 - d6) * ac
        return (r * r).sum()
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        r = bp - (d4 - d3) / ((d4 - d3) + (d5 - d6)) * (c - b)
        return (r * r).sum()
    r = ap - ab * (vb / (va + vb + vc)) - ac * (vc / (va + vb + vc))
    return (r * r).sum()
