"""Our texture layout.

The skin is cut along the back of the head from the collar to the crown and mapped to a rounded rectangle: Tutte's
embedding (convex boundary, positive weights: never folds), whose weights are then tuned to spread the stretch
(Yoshizawa, Belyaev and Seidel 2004, "A fast and simple stretch-minimizing mesh parameterization"), measured against
a wanted density that gives the face most of the texels. Everything else lies in a strip below it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from openhead.decimate import boundary_edges

STRIP = 0.14  # height of the strip of the small parts
MARGIN = 0.008  # two texels of 256
ITERATIONS = 20
# Texels per centimetre relative to the face, by region; the last one that holds wins.
DENSITY = {
    "skin": 1.0, "scalp": 0.33, "shoulders": 0.22, "neck": 0.35, "ears": 0.65, "forehead": 0.9, "eyelids": 2.0,
    "lips": 2.2, "nose": 1.3,
}  # fmt: skip
# Place (u, v, width, height) of each small part in the strip.
ISLANDS = {
    "eye_left": (0.01, 0.005, 0.125, 0.125), "eye_right": (0.145, 0.005, 0.125, 0.125),
    "teeth_upper": (0.28, 0.072, 0.24, 0.058), "teeth_lower": (0.28, 0.005, 0.24, 0.058),
    "gums": (0.53, 0.005, 0.15, 0.125), "tongue": (0.69, 0.005, 0.1, 0.125), "mouth": (0.80, 0.005, 0.125, 0.125),
    "socket_left": (0.935, 0.072, 0.055, 0.058), "socket_right": (0.935, 0.005, 0.055, 0.058),
}  # fmt: skip


def cut_seam(
    vertices: NDArray[np.float64], triangles: NDArray[np.int64], symmetry: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Opens the skin along the back's midline.

    Returns:
        (F, 3) triangles with the left side's seam vertices renumbered, (T,) vertex of each of their corners,
        (T,) corner on the other side, and the boundary loop, from the crown over the right side to the collar's middle
        and back over the left one.
    """
    midline = symmetry == np.arange(len(symmetry))
    edges = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1), axis=0
    )
    edges = edges[midline[edges].all(1)]
    collar = np.unique(boundary_edges(triangles)[:, :2])
    collar_mid = collar[midline[collar] & (vertices[collar, 1] < -5)]
    at = collar_mid[vertices[collar_mid, 2].argmin()]
    crown = np.flatnonzero(midline & np.isin(np.arange(len(midline)), triangles))
    crown = crown[vertices[crown, 1].argmax()]
    seam = [at]
    while seam[-1] != crown:
        nearby = edges[(edges == seam[-1]).any(1)]
        following = [v for v in nearby.ravel() if v not in seam]
        seam.append(
            max(following, key=lambda v: vertices[v, 1])
            if len(seam) > 1
            else min(following, key=lambda v: vertices[v, 2])
        )
    doubled = np.array(seam[:-1])
    copy = np.arange(len(vertices))
    copy[doubled] = len(vertices) + np.arange(len(doubled))
    left = vertices[triangles].mean(1)[:, 0] > 0
    triangles = np.where(left[:, None], copy[triangles], triangles)
    corner_vertex = np.concatenate([np.arange(len(vertices)), doubled])
    other = np.concatenate([symmetry, doubled])
    other[doubled] = copy[doubled]
    edges = boundary_edges(triangles)
    following_vertex = {int(a): int(b) for a, b, _ in edges}
    loop = [int(crown)]
    while following_vertex[loop[-1]] != crown:
        loop.append(following_vertex[loop[-1]])
    return triangles, corner_vertex, other, np.array(loop)


def fill_holes(triangles: NDArray[np.int64], n: int, outer: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Closes every boundary loop but ``outer`` with a fan around a new vertex."""
    edges = boundary_edges(triangles)
    following = {int(a): int(b) for a, b, _ in edges if a not in set(outer.tolist())}
    fans = []
    while following:
        start = next(iter(following))
        loop, at = [], start
        while at in following:
            loop.append(at)
            at = following.pop(at)
        fans += [[b, a, n] for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
        n += 1
    return np.concatenate([triangles, np.array(fans, np.int64).reshape(-1, 3)]), n


def mean_value_weights(points: NDArray[np.float64], triangles: NDArray[np.int64]) -> coo_matrix:
    """Floater's mean value weights: positive, (N, N)."""
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, m = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        a, b = points[j] - points[i], points[m] - points[i]
        la, lb = np.linalg.norm(a, axis=1) + 1e-9, np.linalg.norm(b, axis=1) + 1e-9
        cosine = np.clip((a * b).sum(1) / la / lb, -0.999, 0.999)
        half = np.sqrt((1 - cosine) / (1 + cosine))
        rows += [i, i]
        columns += [j, m]
        values += [half / la, half / lb]
    n = len(points)
    return coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)).tocsr()


def solve(weights, fixed: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    n = weights.shape[0]
    weights = diags(1 / np.asarray(weights.sum(1)).ravel()) @ weights
    free = np.setdiff1d(np.arange(n), fixed)
    out = np.zeros((n, 2))
    out[fixed] = places
    system = (diags(np.ones(n)) - weights).tocsr()[free]
    out[free] = splu(system[:, free].tocsc()).solve(-system[:, fixed] @ places)
    return out


def stretch(points: NDArray[np.float64], uv: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    """(F,) root mean square of the singular values of the map from texture to surface (Sander et al. 2001)."""
    (q1, q2, q3), (p1, p2, p3) = (points[triangles[:, k]] for k in range(3)), (uv[triangles[:, k]] for k in range(3))
    area = ((p2 - p1)[:, 0] * (p3 - p1)[:, 1] - (p3 - p1)[:, 0] * (p2 - p1)[:, 1]) / 2
    area = np.where(np.abs(area) < 1e-14, 1e-14, area)[:, None]
    ds = (q1 * (p2 - p3)[:, 1:] + q2 * (p3 - p1)[:, 1:] + q3 * (p1 - p2)[:, 1:]) / (2 * area)
    dt = (q1 * (p3 - p2)[:, :1] + q2 * (p1 - p3)[:, :1] + q3 * (p2 - p1)[:, :1]) / (2 * area)
    return np.sqrt(((ds**2).sum(1) + (dt**2).sum(1)) / 2)


def superellipse(t: NDArray[np.float64], power: float = 5.0) -> NDArray[np.float64]:
    """(N,) shares of the way round, from the top over the left edge, to (N, 2) points in 0..1."""
    dense = np.linspace(0, 2 * np.pi, 20001) + np.pi / 2
    c, s = np.cos(dense), np.sin(dense)
    curve = np.stack([np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)], 1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.stack([np.interp(t * length[-1], length, curve[:, k]) for k in range(2)], 1)
    return 0.5 + 0.5 * at


def unwrap_skin(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    symmetry: NDArray[np.int64],
    density: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Texture coordinates of the skin.

    Returns:
        (T, 2) places in 0..1 of the whole square, (F, 3) triangles into them, (T,) vertex of each.
    """
    cut, corner_vertex, other, loop = cut_seam(vertices, triangles, symmetry)
    filled, n = fill_holes(cut, len(corner_vertex), loop)
    points = np.zeros((n, 3))
    points[: len(corner_vertex)] = vertices[corner_vertex]
    for hole in range(len(corner_vertex), n):
        points[hole] = points[np.setdiff1d(filled[(filled == hole).any(1)], hole)].mean(0)
    wanted = np.ones(n)
    wanted[: len(corner_vertex)] = density[corner_vertex]
    used = np.unique(filled)
    index = np.full(n, -1)
    index[used] = np.arange(len(used))
    filled, points, wanted, loop = index[filled], points[used], wanted[used], index[loop]
    step = np.linalg.norm(points[loop] - np.roll(points[loop], -1, 0), axis=1) * wanted[loop]
    share = np.concatenate([[0], np.cumsum(step)[:-1]]) / step.sum()
    mirrored = (1 - np.roll(share[::-1], 1)) % 1  # the loop is symmetric: make its places exactly so
    boundary = superellipse((share + mirrored) / 2 if np.abs(share - mirrored).max() < 0.01 else share)
    weights = mean_value_weights(points, filled)
    best, best_energy = None, np.inf
    area = np.linalg.norm(
        np.cross(points[filled[:, 1]] - points[filled[:, 0]], points[filled[:, 2]] - points[filled[:, 0]]), axis=1
    )
    goal = wanted[filled].mean(1)
    for _ in range(ITERATIONS):
        uv = solve(weights, loop, boundary)
        value = stretch(points, uv, filled) * goal
        energy = (value**2 * area * goal**2).sum()
        if energy < best_energy:
            best, best_energy = uv, energy
        spread = np.bincount(filled.ravel(), np.repeat(value**2 * area, 3), len(points))
        sigma = np.sqrt(spread / np.bincount(filled.ravel(), np.repeat(area, 3), len(points)))
        weights = weights @ diags(1 / np.sqrt(sigma / sigma.mean()))
    assert best is not None
    uv = np.zeros((len(corner_vertex), 2))
    known = used[used < len(corner_vertex)]
    uv[known] = best[index[known]]
    uv = 0.5 * (uv + np.stack([1 - uv[other, 0], uv[other, 1]], 1))
    uv = MARGIN + uv * [1 - 2 * MARGIN, 1 - STRIP - 2 * MARGIN] + [0, STRIP]
    return uv, cut, corner_vertex


def fit(island: str, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stretches (N, 2) points to their place in the strip."""
    u, v, width, height = ISLANDS[island]
    low, high = xy.min(0), xy.max(0)
    return [u, v] + (xy - low) / (high - low) * [width, height]


def unwrap(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    symmetry: NDArray[np.int64],
    part: NDArray[np.str_],
    regions: dict[str, NDArray[np.bool_]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Texture coordinates (T, 2) of the whole mesh and (F, 3) triangles into them."""
    density = np.ones(len(vertices))
    for name, value in DENSITY.items():
        density[regions[name]] = value
    uv_faces = np.zeros_like(triangles)
    skin = part == "skin"
    uv, uv_faces[skin], _ = unwrap_skin(vertices, triangles[skin], symmetry, density)
    places = [uv]
    count = len(uv)
    middle = vertices[triangles].mean(1)
    tongue = (part == "gums") & regions["tongue"][triangles].all(1)
    jaw = lower_teeth(vertices, triangles, part)
    groups = {
        "eye_left": part == "eye_left", "eye_right": part == "eye_right", "tongue": tongue,
        "gums": (part == "gums") & ~tongue, "mouth": part == "mouth", "teeth_upper": (part == "teeth") & ~jaw,
        "teeth_lower": (part == "teeth") & jaw, "socket_left": (part == "eye_sockets") & (middle[:, 0] > 0),
        "socket_right": (part == "eye_sockets") & (middle[:, 0] < 0),
    }  # fmt: skip
    for island, chosen in groups.items():
        used, local = np.unique(triangles[chosen], return_inverse=True)
        places.append(fit(island, flatten(island, vertices[used])))
        uv_faces[chosen] = count + local.reshape(-1, 3)
        count += len(used)
    return compact(np.concatenate(places), uv_faces)


def lower_teeth(
    vertices: NDArray[np.float64], triangles: NDArray[np.int64], part: NDArray[np.str_]
) -> NDArray[np.bool_]:
    """(F,) triangles of the lower row: connected pieces whose middle lies below the line between the rows."""
    from scipy.sparse.csgraph import connected_components

    teeth = triangles[part == "teeth"]
    edges = np.concatenate([teeth[:, [0, 1]], teeth[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2)
    _, label = connected_components(graph, directed=False)
    height = np.bincount(label, vertices[:, 1]) / np.bincount(label)
    return (height[label[triangles[:, 0]]] < -3.2) & (part == "teeth")


def flatten(island: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) points of a small part to the plane: eyes from the front, the mouth as an arch, the tongue from above."""
    if island.startswith("eye"):
        direction = x - (x.min(0) + x.max(0)) / 2
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        angle = np.arccos(np.clip(direction[:, 2], -1, 1))
        radius = np.interp(angle, [0.0, 0.5, 1.2, 2.2], [0.0, 0.5, 0.85, 1.0])  # most texels for the iris
        flat = direction[:, :2] / np.maximum(np.linalg.norm(direction[:, :2], axis=1, keepdims=True), 1e-9)
        return flat * radius[:, None]
    if island == "tongue":
        return np.stack([x[:, 0], -x[:, 2]], 1)
    if island.startswith("socket"):
        return x[:, :2]
    if island == "mouth":  # looking in: depth goes outwards
        centre = np.array([0, -2.6])
        flat = x[:, :2] - centre
        depth = x[:, 2].max() - x[:, 2]
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9) * (0.5 + depth)[:, None]
    angle = np.arctan2(x[:, 0], x[:, 2] - 4.0)
    return np.stack([angle, x[:, 1]], 1)


def compact(uv: NDArray[np.float64], uv_faces: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    used, uv_faces = np.unique(uv_faces, return_inverse=True)
    return uv[used].astype(np.float32), uv_faces.reshape(-1, 3)
