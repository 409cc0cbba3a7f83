"""Sheets that turn with the head: grids of points about the neck joint of the unturned head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instaface.face import FaceParameters, rotation_from_angles

Array = NDArray[np.float32]


def on_head(points: Array, parameters: FaceParameters) -> Array:
    """(N, 3) camera space, from points about the neck joint of the unturned head."""
    return turned(points, parameters) + np.asarray(parameters.translation[0])


def turned(vectors: Array, parameters: FaceParameters) -> Array:
    """(N, 3) vectors of the unturned head, as the head has them."""
    return vectors @ np.asarray(rotation_from_angles(parameters.head[0])).T


def sheet_faces(rows: int, columns: int) -> NDArray[np.int64]:
    """(F, 3) triangles of a grid of points, row after row from its top, anticlockwise seen from outside."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, c, b), (b, c, d))])
