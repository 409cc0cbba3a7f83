"""The arrays of the asset, from the source to the last landmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openhead import landmarks, mouth, paint, regions, unwrap
from openhead.bases import Bases, learn_bases
from openhead.source import ARKIT_NAMES, Source, load_source
from openhead.topology import Topology, build_topology, distance_from, rim

LID_MIDDLES = ((386, 374), (159, 145))  # upper and lower lid of the left and the right eye, Face Mesh
LID_OVERLAP = 0.03  # centimetres that a closed upper lid reaches over the lower one
STEP = 2e-4  # centimetres: what offsets are rounded to


def build(path: Path, renders: int) -> dict[str, NDArray]:
    """All arrays of the asset."""
    source = load_source(path)
    topology = build_topology(source)
    masks = regions.region_masks(source, topology)
    bases = learn_bases(source, topology, masks)
    mean, triangles, part = bases.mean, topology.triangles, topology.part
    uv, uv_faces = unwrap.unwrap(mean, triangles, topology.symmetry, part, masks)
    marks = regions.symmetric_marks(source)
    jaw_open = bases.expression[ARKIT_NAMES.index("jawOpen")]
    texture = paint.paint(mean, triangles, uv, uv_faces, masks, marks, lid_distance(source, topology))
    head = landmarks.Head(bases, triangles, uv, uv_faces, texture, masks, part)
    part = np.where((part == "gums") & masks["tongue"][triangles].all(1), "tongue", part)
    names = sorted(set(part.tolist()))
    ibug_face, ibug_weight = ibug_embedding(marks, mean, triangles, part)
    mp_face, mp_weight = mediapipe_embedding(head, renders)
    closing, closing_identity = closing_of_the_eyes(bases, triangles[mp_face], mp_weight)
    return {
        "mean": mouth.seat(mean, jaw_open, triangles, topology.symmetry, masks).astype(np.float32),
        "identity": np.round(bases.identity / STEP).astype(np.int16),
        "expression": np.round(bases.expression / STEP).astype(np.int16),
        "step": np.float32(STEP),
        "expression_names": np.array(ARKIT_NAMES),
        "faces": triangles.astype(np.uint16),
        "uv": uv,
        "uv_faces": uv_faces.astype(np.uint16),
        "part_names": np.array(names),
        "part": np.array([names.index(p) for p in part], np.uint8),
        "region_names": np.array(list(masks)),
        "regions": np.packbits(np.stack(list(masks.values())), axis=1),
        "head_weight": regions.head_weights(mean).astype(np.float32) * masks["skin"] + ~masks["skin"],
        "neck_joint": regions.NECK_JOINT.astype(np.float32),
        "eye_centre": bases.eye_centre.astype(np.float32),
        "eye_centre_identity": bases.eye_centre_identity.astype(np.float32),
        "closing": closing.astype(np.float32),
        "closing_identity": closing_identity.astype(np.float32),
        "symmetry": topology.symmetry.astype(np.uint16),
        "mediapipe_face": mp_face.astype(np.uint16),
        "mediapipe_weight": mp_weight.astype(np.float32),
        "ibug_face": ibug_face.astype(np.uint16),
        "ibug_weight": ibug_weight.astype(np.float32),
        "albedo": np.round(255 * texture).astype(np.uint8),
    }


def save(asset: dict[str, NDArray], path: Path) -> None:
    """Writes the asset; the archive's dates are fixed, so equal arrays are equal bytes."""
    np.savez_compressed(path, **asset)


def closing_of_the_eyes(bases: Bases, corners: NDArray, weight: NDArray) -> tuple[NDArray, NDArray]:
    """How much of the source's blink closes an eye: (2,) of the mean face, left and right, and (I, 2) per component.

    The source's blink is one offset for everybody: wide eyes stay ajar, narrow ones close too far.
    """

    def opening(values: NDArray) -> NDArray:
        height = np.einsum("...lk,lk->...l", values[..., corners, 1], weight)
        return np.stack([height[..., upper] - height[..., lower] for upper, lower in LID_MIDDLES], -1)

    travel = -np.array(
        [
            opening(bases.expression[ARKIT_NAMES.index(f"eyeBlink{side}")])[eye]
            for eye, side in enumerate(("Left", "Right"))
        ]
    )
    return (opening(bases.mean) + LID_OVERLAP) / travel, opening(bases.identity) / travel


def lid_distance(source: Source, topology: Topology) -> NDArray[np.float64]:
    """(V,) centimetres along the skin to the edge of the lids, 9 on other parts."""
    distance = distance_from(rim(source, "eye_sockets"), source.triangles, source.neutral)[topology.kept]
    return np.where(source.part[topology.kept] <= 1, np.minimum(distance, 9), 9)


def ibug_embedding(marks: NDArray, mean: NDArray, triangles: NDArray, part: NDArray) -> tuple[NDArray, NDArray]:
    """The 68 points as the source's authors chose them, both halves averaged."""
    return landmarks.snap(marks, mean, triangles, part == "skin")


def mediapipe_embedding(head: landmarks.Head, renders: int) -> tuple[NDArray, NDArray]:
    """The 478 points where the detector sees them."""
    lower = lower_half(head)
    points = landmarks.mediapipe_points(head, lower, renders)
    face, weight = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
    groups = {
        "skin": (list(range(468)), head.part == "skin"),
        "upper": (landmarks.INNER_UPPER_LIP, (head.part == "skin") & ~lower),
        "lower": (landmarks.INNER_LOWER_LIP, (head.part == "skin") & lower),
        "left": (landmarks.IRIS_LEFT, head.part == "eye_left"),
        "right": (landmarks.IRIS_RIGHT, head.part == "eye_right"),
    }
    for indices, allowed in groups.values():
        chosen = list(indices)
        face[chosen], weight[chosen] = landmarks.snap(points[chosen], head.bases.mean, head.triangles, allowed)
    return face, weight


def lower_half(head: landmarks.Head) -> NDArray[np.bool_]:
    """(F,) skin triangles that go down with the jaw."""
    drop = -head.bases.expression[ARKIT_NAMES.index("jawOpen"), :, 1]
    return (drop[head.triangles].mean(1) > 0.5 * drop.max()) | (head.regions["lip_lower"][head.triangles].sum(1) >= 2)
