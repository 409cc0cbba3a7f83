"""Half-edge collapse: a mesh is made smaller by dropping vertices; those that remain stay where they are.

Quadric error (Garland and Heckbert 1997, "Surface simplification using quadric error metrics"), summed over several
poses of the same mesh so that what is flat in one pose but folds in another is kept. As vertices are a subset,
every basis carries over by indexing.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

MAX_RING = 32


def decimate(
    poses: NDArray[np.float64],
    triangles: NDArray[np.int64],
    target: int,
    locked: NDArray[np.bool_],
    weight: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Collapses edges until about ``target`` vertices are left.

    Args:
        poses: (P, N, 3) vertex positions.
        triangles: (F, 3); manifold, with boundary.
        target: vertices to keep.
        locked: (N,) vertices that must stay.
        weight: (N,) factor of the distance error at each vertex.

    Returns:
        (F', 3) triangles over the same vertex numbering. Vertices on a boundary move along it only.
    """
    quadrics = vertex_quadrics(poses, triangles)
    corners = boundary_corners(poses[0], triangles)
    locked = locked | corners
    while True:
        used = np.unique(triangles)
        if len(used) <= target:
            return triangles
        ring, count = vertex_rings(triangles, len(locked))
        boundary = boundary_vertices(triangles, len(locked))
        cost, into = best_collapses(poses, triangles, ring, count, quadrics, boundary, locked)
        cost *= weight**2
        order = np.argsort(cost, kind="stable")
        order = order[np.isfinite(cost[order])]
        # Only the cheaper part goes in one pass, and no two collapses that touch each other.
        limit = min(len(used) - target, max(1, len(order) // 6))
        chosen = independent(order, limit, triangles, ring, count)
        if not len(chosen):
            return triangles
        move = np.arange(len(locked))
        move[chosen] = into[chosen]
        np.add.at(quadrics, (slice(None), into[chosen]), quadrics[:, chosen])
        triangles = move[triangles]
        a, b, c = triangles.T
        triangles = triangles[(a != b) & (b != c) & (c != a)]


def vertex_quadrics(poses: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    """(P, N, 4, 4) area-weighted sums of squared distances to the planes around each vertex and its boundary."""
    out = np.zeros((len(poses), poses.shape[1], 4, 4))
    edges = boundary_edges(triangles)
    for x, q in zip(poses, out, strict=True):
        a, b, c = (x[triangles[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        area = np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        add_planes(q, triangles, normal / area, a, area[:, 0] / 2)
        corner = x[edges[:, 0]]
        along = x[edges[:, 1]] - corner
        owner = normal[edges[:, 2]] / area[edges[:, 2]]
        side = np.cross(along, owner)
        length = np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
        add_planes(q, edges[:, :2], side / length, corner, length[:, 0] ** 2)
    return out


def add_planes(q, members, normal, point, weight) -> None:  # type: ignore[no-untyped-def]
    plane = np.concatenate([normal, -(normal * point).sum(1, keepdims=True)], 1)
    outer = plane[:, :, None] * plane[:, None, :] * weight[:, None, None]
    for k in range(members.shape[1]):
        np.add.at(q, members[:, k], outer)


def boundary_edges(triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    """(E, 3): start, end and triangle of every edge that has one triangle only."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    owner = np.tile(np.arange(len(triangles)), 3)
    _, first, count = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    single = count == 1
    return np.column_stack([edges, owner])[first[single]]


def boundary_vertices(triangles: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    out = np.zeros(n, bool)
    out[boundary_edges(triangles)[:, :2]] = True
    return out


def boundary_corners(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Boundary vertices where the boundary turns by more than 60 degrees."""
    edges = boundary_edges(triangles)
    following = {int(a): int(b) for a, b, _ in edges}
    out = np.zeros(len(vertices), bool)
    for a, b in following.items():
        c = following.get(b)
        if c is None:
            continue
        u, v = vertices[b] - vertices[a], vertices[c] - vertices[b]
        if u @ v < 0.5 * np.linalg.norm(u) * np.linalg.norm(v):
            out[b] = True
    return out


def vertex_rings(triangles: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, MAX_RING) triangles around each vertex and (N,) their number."""
    flat = triangles.ravel()
    order = np.argsort(flat, kind="stable")
    owner = order // 3
    count = np.bincount(flat, minlength=n)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    ring = np.full((n, MAX_RING), -1)
    slot = np.arange(len(flat)) - np.repeat(start, count)
    keep = slot < MAX_RING
    ring[flat[order][keep], slot[keep]] = owner[keep]
    return ring, np.minimum(count, MAX_RING)


@numba.njit(cache=True)
def best_collapses(poses, triangles, ring, count, quadrics, boundary, locked):  # type: ignore[no-untyped-def]
    """Cheapest allowed collapse of each vertex: (N,) costs, infinite where there is none, and (N,) targets."""
    n = len(locked)
    cost = np.full(n, np.inf)
    into = np.full(n, -1)
    for i in range(n):
        if locked[i] or count[i] == 0 or count[i] >= MAX_RING:
            continue
        for r in range(count[i]):
            for corner in range(3):
                k = triangles[ring[i, r], corner]
                if k == i or count[k] + count[i] - 4 > 12:
                    continue
                shared = 0
                for s in range(count[i]):
                    t = triangles[ring[i, s]]
                    if t[0] == k or t[1] == k or t[2] == k:
                        shared += 1
                if boundary[i] and shared != 1:
                    continue
                if not boundary[i] and shared != 2:
                    continue
                if common_neighbours(triangles, ring, count, i, k) != shared:
                    continue
                value = 0.0
                for p in range(len(poses)):
                    q = quadrics[p, i]
                    x = poses[p, k]
                    h = np.array([x[0], x[1], x[2], 1.0])
                    value += max(0.0, h @ (q @ h))
                shape = 1.0
                for s in range(count[i]):
                    t = triangles[ring[i, s]]
                    if t[0] == k or t[1] == k or t[2] == k:
                        continue
                    for p in range(len(poses)):
                        shape = min(shape, turned(poses[p], t, i, k))
                    if shape <= 0.0:
                        break
                if shape <= 0.02:
                    continue
                length = 0.0
                for c in range(3):
                    length += (poses[0, i, c] - poses[0, k, c]) ** 2
                value = value + 1e-5 * length
                value /= shape
                if value < cost[i]:
                    cost[i] = value
                    into[i] = k
    return cost, into


@numba.njit(cache=True)
def common_neighbours(triangles, ring, count, i, k):  # type: ignore[no-untyped-def]
    found = 0
    seen = np.empty(3 * MAX_RING, np.int64)
    n_seen = 0
    for r in range(count[i]):
        for a in range(3):
            v = triangles[ring[i, r], a]
            if v in (i, k):
                continue
            known = False
            for s in range(n_seen):
                if seen[s] == v:
                    known = True
            if known:
                continue
            seen[n_seen] = v
            n_seen += 1
            hit = False
            for s in range(count[k]):
                for b in range(3):
                    if triangles[ring[k, s], b] == v:
                        hit = True
            if hit:
                found += 1
    return found


@numba.njit(cache=True)
def turned(x, t, i, k):  # type: ignore[no-untyped-def]
    """Quality of triangle ``t`` after i became k: 0 where it turned by over 60 degrees, else 0..1 by shape."""
    old = np.empty((3, 3))
    new = np.empty((3, 3))
    for a in range(3):
        old[a] = x[t[a]]
        new[a] = x[k] if t[a] == i else x[t[a]]
    n0 = cross(old[1] - old[0], old[2] - old[0])
    n1 = cross(new[1] - new[0], new[2] - new[0])
    l0 = np.sqrt((n0**2).sum())
    l1 = np.sqrt((n1**2).sum())
    if (n0 * n1).sum() < 0.5 * l0 * l1:
        return 0.0
    edges = ((new[1] - new[0]) ** 2).sum() + ((new[2] - new[1]) ** 2).sum() + ((new[0] - new[2]) ** 2).sum()
    return 2 * 1.7320508 * l1 / (edges + 1e-12)


@numba.njit(cache=True)
def cross(a, b):  # type: ignore[no-untyped-def]
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


@numba.njit(cache=True)
def independent(order, limit, triangles, ring, count):  # type: ignore[no-untyped-def]
    """The first of ``order`` that do not touch each other's neighbourhoods, at most ``limit``."""
    blocked = np.zeros(len(count), np.bool_)
    out = np.empty(limit, np.int64)
    n = 0
    for i in order:
        if n == limit:
            break
        if blocked[i]:
            continue
        out[n] = i
        n += 1
        for r in range(count[i]):
            for a in range(3):
                v = triangles[ring[i, r], a]
                blocked[v] = True
                for s in range(count[v]):
                    for b in range(3):
                        blocked[triangles[ring[v, s], b]] = True
    return out[:n]
