"""Names for parts of the mesh, the neck joint and the skinning weights.

Everything is said in the neutral face of the source: centimetres, y up, z to the front, origin between the ears.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from openhead.source import ARKIT_NAMES, IBUG_VERTICES, PARTS, Source, tongue_mask
from openhead.topology import Topology, distance_from, rim

NECK_JOINT = np.array([0.0, -5.0, -1.0])  # in the neck's axis, at the height of the axis and third vertebra
KAPPA_DEGREES = 5.0  # the eye's optical axis, where the iris is, points this much more outwards than its gaze
IRIS_DEGREES = 21.5  # half angle of the iris seen from the eyeball's centre


def smoothstep(low: NDArray | float, high: NDArray | float, x: NDArray) -> NDArray[np.float64]:
    t = np.clip((x - low) / (np.asarray(high) - low), 0, 1)
    return t * t * (3 - 2 * t)


def head_weights(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V,) 1 on the head, falling along the neck, 0 on the shoulders.

    The upper end of the neck runs from the nape to under the chin, the lower end along the collar.
    """
    y, z = vertices[:, 1], vertices[:, 2]
    upper = np.interp(z, [-8.0, -2.0, 4.0, 9.0], [-2.5, -3.5, -8.0, -9.5])
    lower = np.interp(z, [-8.0, -2.0, 4.0, 9.0], [-11.0, -12.5, -15.0, -16.5])
    return smoothstep(lower, upper, y)


def near_polyline(points: NDArray[np.float64], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) distances from points (N, D) to a polyline (M, D)."""
    best = np.full(len(points), np.inf)
    for a, b in pairwise(line):
        t = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return best


def inside_polygon(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether points (N, 2) lie in a polygon (M, 2)."""
    inside = np.zeros(len(points), bool)
    for a, b in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        crosses = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = a[0] + (points[:, 1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
        inside ^= crosses & (points[:, 0] < at)
    return inside


def eye_axis(vertices: NDArray[np.float64], eye: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of an eyeball and the direction of its pole (the middle of the iris)."""
    x = vertices[eye]
    centre = np.linalg.lstsq(np.c_[2 * x, np.ones(len(x))], (x**2).sum(1), rcond=None)[0][:3]
    kappa = np.sign(centre[0]) * np.deg2rad(KAPPA_DEGREES)
    return centre, np.array([np.sin(kappa), 0.0, np.cos(kappa)])


def region_masks(source: Source, topology: Topology) -> dict[str, NDArray[np.bool_]]:
    """Name to (V,) mask. Regions overlap: ``skin`` holds most of the others; ``face`` is what a mask would cover."""
    v = source.neutral[topology.kept]
    x, y, z = v.T
    names = list(PARTS)
    part = source.part[topology.kept]
    skin = part <= 1
    edges = source.triangles[np.isin(source.part[source.triangles], [0, 1]).all(1)]
    to_lid = distance_from(rim(source, "eye_sockets"), edges, source.neutral)[topology.kept]
    to_lip = distance_from(rim(source, "mouth"), edges, source.neutral)[topology.kept]
    marks = symmetric_marks(source)

    out: dict[str, NDArray[np.bool_]] = {}
    ear = skin & (np.abs(x) > ear_root(y, z)) & (y > -2.4) & (y < 4.2) & (z > -2.8) & (z < 2.0)
    front = skin & ~ear & (z > 2.0)
    lips = front & (to_lip < 2.2) & ((lip_distance(v, marks) < 0) | (to_lip < 0.3))
    out["lips"] = lips
    # The lower lip goes down with the jaw: by 3.5 cm in the middle, by 1.5 cm next to the corners.
    drop = -source.expression[ARKIT_NAMES.index("jawOpen"), topology.kept, 1]
    low = drop > np.interp(np.abs(x), [0.0, 1.6, 2.3], [1.8, 1.6, 1.2])
    out["lip_upper"], out["lip_lower"] = lips & ~low, lips & low
    eye_height = marks[36:48, 1].mean()
    out["eyelids"] = front & (to_lid < np.where(y > eye_height, 0.75, 0.5))
    out["brows"] = front & (brow_distance(v, marks) < 0.42) & (y > 4.3)
    for side, sign in (("left", 1), ("right", -1)):
        out[f"brow_{side}"] = out["brows"] & (sign * x > 0)
        out[f"ear_{side}"] = ear & (sign * x > 0)
        eye = part == names.index(f"eye_{side}")
        centre, pole = eye_axis(v, np.flatnonzero(eye))
        angle = np.degrees(np.arccos(np.clip(((v - centre) @ pole) / np.linalg.norm(v - centre, axis=1), -1, 1)))
        out[f"eyeball_{side}"], out[f"iris_{side}"] = eye, eye & (angle < IRIS_DEGREES)
    out["eyes"] = out["eyeball_left"] | out["eyeball_right"]
    out["ears"] = ear
    half_nose = np.interp(y, [-1.2, 0.2, 1.2, 3.4, 4.6], [2.0, 2.1, 1.9, 1.0, 1.0])
    out["nose"] = front & ~lips & (np.abs(x) < half_nose) & (y > -1.1) & (y < 4.6) & (z > 7.0) & (to_lip > 1.0)
    out["scalp"] = skin & ~ear & (above_hairline(v) > 0)
    weight = head_weights(v)
    out["shoulders"] = skin & (weight < 0.02)
    jaw_edge = np.interp(z, [-2.0, 2.0, 5.0, 9.0], [-2.5, -4.0, -7.5, -9.0])
    out["neck"] = skin & ~ear & ~out["scalp"] & ~out["shoulders"] & ((y < jaw_edge) | (z < 0.0))
    out["face"] = skin & ~ear & ~out["scalp"] & ~out["neck"] & ~out["shoulders"]
    out["forehead"] = out["face"] & ~out["brows"] & (y > 5.6 - 0.02 * x * x) & (np.abs(x) < 6.3)
    plain = out["face"] & ~lips & ~out["nose"] & ~out["eyelids"] & ~out["brows"] & ~out["forehead"]
    out["chin"] = plain & (y < -4.2) & (np.abs(x) < 3.0)
    out["jaw"] = plain & ~out["chin"] & (y < np.interp(np.abs(x), [0.0, 3.0, 7.0], [-4.2, -5.2, -2.8]))
    cheek = plain & ~out["chin"] & ~out["jaw"] & (y < 3.4) & (np.abs(x) > 1.4)
    for side, sign in (("left", 1), ("right", -1)):
        out[f"cheek_{side}"] = cheek & (sign * x > 0)
    out["skin"] = skin
    for name in ("teeth", "gums", "mouth", "eye_sockets"):
        out[name] = part == names.index(name)
    out["tongue"] = tongue_mask(source)[topology.kept]
    out["gums"] &= ~out["tongue"]
    return out


# Landmark order of the 68 points mirrored left to right.
# fmt: off
IBUG_MIRROR = np.array([
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 27, 28, 29, 30,
    35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
])
# fmt: on


def symmetric_marks(source: Source) -> NDArray[np.float64]:
    """(68, 3) iBUG points on the neutral face, both halves averaged."""
    marks = source.neutral[IBUG_VERTICES]
    other = source.neutral[source.mirror[IBUG_VERTICES]][IBUG_MIRROR]
    return (marks + other) / 2


def above_hairline(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) height in centimetres of (N, 3) points over a usual hairline: forehead, temple, behind the ear, nape."""
    return x[:, 1] - np.interp(x[:, 2], [-9.0, -4.0, 0.0, 1.5, 4.0, 9.0], [-4.5, -2.5, 1.0, 4.0, 8.6, 9.4])


def lip_distance(x: NDArray[np.float64], marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) distance in the frontal view to the lips' outer contour, negative inside."""
    contour = marks[[*range(48, 60), 48], :2]
    return near_polyline(x[:, :2], contour) * np.where(inside_polygon(x[:, :2], contour[:-1]), -1, 1)


def brow_distance(x: NDArray[np.float64], marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) distance in the frontal view to the middle line of the nearer brow."""
    return np.minimum(*(near_polyline(x[:, :2], line[:, :2]) for line in (marks[17:22], marks[22:27])))


def ear_root(y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """|x| of the head's side where the ear grows out of it."""
    return np.interp(z, [-2.8, -1.0, 0.5, 1.2, 2.0], [7.6, 7.5, 7.35, 7.5, 7.9]) - 0.05 * np.abs(y - 1.0)
