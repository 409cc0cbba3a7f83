"""The samples' source: the vertex ranges, names and triangles of ICT Face Model Light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

# First and last vertex of each part. Dropped: lacrimal fluid, eye blend, eye occlusion, eyelashes and the inner
# of the two shells of each eyeball.
PARTS = {
    "face": (0, 9408),
    "head": (9409, 11247),
    "mouth": (11248, 13293),
    "eye_sockets": (13294, 14061),
    "gums": (14062, 17038),  # with the tongue
    "teeth": (17039, 21450),
    "eye_left": (21451, 22220),
    "eye_right": (23021, 23790),
}
TONGUE_FIRST = 16553  # of the gums, the vertices from here on are the tongue, but for a few of the throat

# fmt: off
IBUG_VERTICES = np.array([
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
])
ARKIT_NAMES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)
# fmt: on


@dataclass(frozen=True)
class Source:
    """The source model, without the parts that are dropped.

    Attributes:
        neutral: (N, 3) float64, centimetres.
        identity: (100, N, 3) float32 offsets for unit-normal coefficients.
        expression: (51, N, 3) float32 offsets in the order of ``ARKIT_NAMES`` (all but ``tongueOut``).
        triangles: (F, 3) int64.
        mirror: (N,) int64, the vertex on the other side.
        part: (N,) index into ``PARTS``, -1 where dropped.
    """

    neutral: NDArray[np.float64]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    triangles: NDArray[np.int64]
    mirror: NDArray[np.int64]
    part: NDArray[np.int64]


def source_names(arkit: str, available: list[str]) -> list[str]:
    """Names in the source whose offsets add up to one ARKit blendshape."""
    side = arkit.replace("Left", "_L").replace("Right", "_R") if arkit not in available else arkit
    return [name for name in (side, f"{side}_L", f"{side}_R") if name in available]


def load_source(path: Path) -> Source:
    """Reads ``ict_facekit.npz``."""
    data = np.load(path)
    neutral, quads = data["neutral"].astype(np.float64), data["faces"].astype(np.int64)
    available = [str(name) for name in data["expression_names"]]
    offsets = data["expression"].astype(np.float32)
    expression = np.stack(
        [sum(offsets[available.index(n)] for n in source_names(name, available)) for name in ARKIT_NAMES[:-1]]
    )
    part = np.full(len(neutral), -1)
    for k, (first, last) in enumerate(PARTS.values()):
        part[first : last + 1] = k
    triangles = triangulate(neutral, quads)
    triangles = triangles[(part[triangles] >= 0).all(1)]
    return Source(
        neutral, data["identity"].astype(np.float32), expression, triangles, mirror_map(neutral, triangles), part
    )


def mirror_map(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) nearest vertex to each one's mirror image, made mutual; vertices of no triangle map to themselves."""
    used = np.unique(triangles)
    points = vertices[used]
    nearest = cKDTree(points).query(points * [-1, 1, 1])[1]
    odd = np.flatnonzero(nearest[nearest] != np.arange(len(used)))  # a few: match them among each other
    distance = np.linalg.norm(points[odd, None] * [-1, 1, 1] - points[None, odd], axis=-1)
    nearest[odd] = odd[linear_sum_assignment(distance + distance.T)[1]]
    assert (nearest[nearest] == np.arange(len(used))).all()
    out = np.arange(len(vertices))
    out[used] = used[nearest]
    return out


def triangulate(vertices: NDArray[np.float64], quads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Splits quads along the shorter diagonal; -1 in the fourth column marks a triangle."""
    triangles, quads = quads[quads[:, 3] < 0][:, :3], quads[quads[:, 3] >= 0]
    length = np.linalg.norm(vertices[quads[:, [0, 1]]] - vertices[quads[:, [2, 3]]], axis=-1)
    first = (length[:, 0] <= length[:, 1] * (1 + 1e-6))[:, None]
    one = np.where(first, quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    two = np.where(first, quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return np.concatenate([triangles, one, two])


def tongue_mask(source: Source) -> NDArray[np.bool_]:
    """(N,) the vertices of the tongue."""
    gums = source.part == list(PARTS).index("gums")
    return gums & (np.arange(len(gums)) >= TONGUE_FIRST) & (source.neutral[:, 2] > 3.2)
