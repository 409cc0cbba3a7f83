"""What OpenHead knows of faces, carried over to FLAME through the 68 landmarks that both have.

FLAME's files name no blendshapes, hardly any regions and few of MediaPipe's landmarks. OpenHead's mean face, drawn onto
FLAME's by its landmarks, lends them: regions by the nearest vertex, landmarks by the nearest point of the surface, and
the ARKit blendshapes as a linear map, fitted to how they move those landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from instaface.face.flame import CENTIMETRES, EYEBALLS, FLAME, JAW, Arkit, rotation_from_vector
from instaface.face.openhead import OpenHead

Floats = NDArray[np.float64]

IRISES = slice(468, 478)  # among MediaPipe's 478
IRIS_CONE = 0.86  # cosine: what of an eyeball is iris
NOISE = 0.02  # centimetres, of a landmark's movement by a blendshape, per root of the landmarks that say the same
CORRELATION = 20.0
JAW_SPREAD = 0.3  # radians, standard deviation of the jaw in the fit
STEP = 0.1  # radians, for the jaw's linear part
EYE_LOOK = "eyeLook"  # FLAME's eyes turn by the gaze, and its lids do not follow
UNSEEN = "tongueOut"


@dataclass(frozen=True)
class Drawn:
    """OpenHead's mean face on FLAME's.

    Attributes:
        vertices: (V, 3) OpenHead's vertices in FLAME's rest pose, centimetres.
        linear: (3, 3) rotation times scale that takes OpenHead's movements there.
    """

    vertices: Floats
    linear: Floats


def adopt(flame: FLAME, openhead: OpenHead) -> None:
    """Gives ``flame`` regions, the landmark scheme "mediapipe" and the ARKit names; what its own files say stays."""
    drawn = draw(flame, openhead)
    for name, vertices in regions(flame, openhead, drawn).items():
        flame.regions.setdefault(name, vertices)
    flame.add_landmarks("mediapipe", *mediapipe_points(flame, openhead, drawn))
    flame.set_arkit(fit_arkit(flame, openhead, drawn))


def draw(flame: FLAME, openhead: OpenHead) -> Drawn:
    """OpenHead's mean on FLAME's template: a similarity (Umeyama 1991), then a biharmonic warp of what is left."""
    from scipy.interpolate import RBFInterpolator

    source = np.asarray(openhead.landmarks(openhead.mean[None], "ibug")[0], np.float64)
    target = CENTIMETRES * flame.landmarks(flame.template[None], "ibug")[0].double().numpy()
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    linear = (u @ sign @ vt) * (np.trace(sign @ np.diag(s)) / (a**2).sum())
    placed = (np.asarray(openhead.mean, np.float64) - source.mean(0)) @ linear.T + target.mean(0)
    at = a @ linear.T + target.mean(0)
    warp = RBFInterpolator(at, target - at, kernel="linear", smoothing=0.05)
    return Drawn(placed + warp(placed), linear)


def regions(flame: FLAME, openhead: OpenHead, drawn: Drawn) -> dict[str, torch.Tensor]:
    """OpenHead's regions of the skin on FLAME's, by the nearest vertex; irises by their direction."""
    from scipy.spatial import cKDTree

    template = CENTIMETRES * flame.template.double().numpy()
    skin = np.asarray(openhead.regions["skin"])
    head = np.setdiff1d(np.arange(len(template)), np.concatenate([list(part) for part in EYEBALLS.values()]))
    nearest = skin[cKDTree(drawn.vertices[skin]).query(template[head])[1]]
    out = {}
    for name, vertices in openhead.regions.items():
        chosen = head[np.isin(nearest, np.intersect1d(vertices, skin))]
        if len(chosen) and not name.startswith(("eyeball", "iris")):
            out[name] = torch.from_numpy(chosen)
    for side in ("left", "right"):
        ball = np.array(list(EYEBALLS[f"eyeball_{side}"]))
        arm = template[ball] - (template[ball].min(0) + template[ball].max(0)) / 2
        out[f"iris_{side}"] = torch.from_numpy(ball[arm[:, 2] > IRIS_CONE * np.linalg.norm(arm, axis=1)])
    out["eyes"] = torch.cat([flame.regions[name] for name in EYEBALLS])
    return out


def mediapipe_points(flame: FLAME, openhead: OpenHead, drawn: Drawn) -> tuple[NDArray[np.int64], Floats]:
    """MediaPipe's 478 landmarks: (478,) triangles of FLAME and (478, 3) barycentric coordinates."""
    points = openhead.landmarks(drawn.vertices[None].astype(np.float32), "mediapipe")[0].astype(np.float64)
    template = CENTIMETRES * flame.template.double().numpy()
    faces = flame.faces.numpy()
    on_eyes = faces[:, 0] >= EYEBALLS["eyeball_left"].start
    index, bary = closest(points, template, faces, np.flatnonzero(~on_eyes))
    index[IRISES], bary[IRISES] = closest(points[IRISES], template, faces, np.flatnonzero(on_eyes))
    return index, bary


def closest(
    points: Floats, vertices: Floats, faces: NDArray[np.int64], among: NDArray[np.int64], candidates: int = 16
) -> tuple[NDArray[np.int64], Floats]:
    """Nearest points of a surface: (N,) triangles out of ``among`` and (N, 3) barycentric coordinates.

    Of the triangles with the nearest middles, the one whose plane projection, brought inside, is nearest.
    """
    from scipy.spatial import cKDTree

    corners = vertices[faces[among]]
    _, near = cKDTree(corners.mean(1)).query(points, k=candidates)
    a, b, c = (corners[near][:, :, k] for k in range(3))
    u, v, w = b - a, c - a, points[:, None] - a
    uu, uv, vv, wu, wv = ((p * q).sum(-1) for p, q in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    scale = np.maximum(uu * vv - uv * uv, 1e-12)
    second, third = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    bary = np.stack([1 - second - third, second, third], -1).clip(0)
    bary /= bary.sum(-1, keepdims=True)
    found = (corners[near] * bary[..., None]).sum(2)
    best = ((found - points[:, None]) ** 2).sum(-1).argmin(1)
    rows = np.arange(len(points))
    return among[near[rows, best]], bary[rows, best]


def fit_arkit(flame: FLAME, openhead: OpenHead, drawn: Drawn) -> Arkit:
    """The linear map from ARKit weights to FLAME's 50 expression coefficients and 3 jaw angles.

    Least squares of how MediaPipe's 468 skin landmarks move, with a unit normal prior on the coefficients.
    """
    names = tuple(n for n in openhead.expression_names if not n.startswith(EYE_LOOK) and n != UNSEEN)
    chosen = [openhead.expression_names.index(name) for name in names]
    asked = np.asarray(openhead.landmarks(openhead.expression[chosen], "mediapipe")[:, : IRISES.start], np.float64)
    wanted = (asked @ drawn.linear.T).reshape(len(names), -1).T  # (468 x 3, names)
    moves = movements(flame)
    noise = NOISE * np.sqrt(CORRELATION)
    prior = np.diag(np.concatenate([np.ones(len(flame.expression_basis)), np.full(3, JAW_SPREAD**-2)]))
    matrix = np.linalg.solve(moves.T @ moves / noise**2 + prior, moves.T @ wanted / noise**2)
    left = np.linalg.norm(moves @ matrix - wanted, axis=0) / np.linalg.norm(wanted, axis=0)
    return Arkit(
        names=names,
        matrix=torch.from_numpy(matrix).float(),
        metric=torch.from_numpy(np.linalg.qr(moves, mode="r")).float(),
        residual=torch.from_numpy(left).float(),
    )


def movements(flame: FLAME) -> Floats:
    """(468 x 3, 53) centimetres that MediaPipe's skin landmarks move by each expression coefficient and jaw radian."""
    still = torch.eye(3).expand(3, 5, 3, 3).clone()
    still[:, JAW] = rotation_from_vector(STEP * torch.eye(3))
    none = torch.zeros(3, flame.n_identity), torch.zeros(3, len(flame.expression_basis))
    with_jaw, _ = flame.pose(*none, still)
    moved = torch.cat([flame.expression_basis, (with_jaw - flame.template) / STEP])
    points = flame.landmarks(CENTIMETRES * moved, "mediapipe")[:, : IRISES.start]
    return points.flatten(1).T.double().numpy()
