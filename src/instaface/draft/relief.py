"""Hair and the rest of the head that the face model does not cover, as a closed shell.

The shell is a height field over the photo. It leaves the face where the face model ends, bulges as a circle does and
reaches its silhouette in the plane of the head's middle; its back is its front mirrored at that plane. Turned with the
head it behaves as a volume: the near side comes round, the far side goes, the silhouette stays closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from instaface.draft.fill import push_pull, smoothstep
from instaface.face import Camera

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shell:
    """Front and back of the head's shell in the photo's view.

    Attributes:
        points: (2 N, 3) float32 camera space, centimetres: N points of the front, then their twins on the back.
        faces: (F, 3) int64, anticlockwise seen from outside.
        weights: (2 N,) float32, 1 where a point turns with the head, 0 where it stays with the shoulders.
        normals: (2 N, 3) float32 unit normals, smooth, as hair takes light.
        anchor: (N,) int64 vertex of the face model next to which a point lies.
        follow: (N,) float32 share of the anchor's movement that a point takes part in when the expression changes.
        rim: (N,) float32, 1 on skin just outside of the face model, where its outline is off; 0 on hair.
        shape: (h, w) of the grid, N = h w.
        step: pixels between its points.
    """

    points: Array
    faces: NDArray[np.int64]
    weights: Array
    normals: Array
    anchor: NDArray[np.int64]
    follow: Array
    rim: Array
    shape: tuple[int, int]
    step: int


RIM_WIDTH = 1.5  # centimetres by which the face model's outline may be off
FOLLOW_RANGE = 2.0  # centimetres over which the face's expression fades out in what surrounds it


def harmonic(domain: Mask, fixed: Mask, values: Array) -> Array:
    """Solves Laplace's equation on a grid.

    Args:
        domain: (H, W) cells to solve for. Borders to cells neither in ``domain`` nor ``fixed`` are free (Neumann).
        fixed: (H, W) cells whose value is given (Dirichlet).
        values: (H, W) float32 given values.

    Returns:
        (H, W) float32: the solution in ``domain``, ``values`` elsewhere.
    """
    domain = domain & ~fixed
    count = int(domain.sum())
    out = values.astype(np.float32).copy()
    if not count or not fixed.any():
        return out
    index = np.full(domain.shape, -1)
    index[domain] = np.arange(count)
    diagonal, right = np.full(count, 1e-6), 1e-6 * np.full(count, values[fixed].mean())
    rows, columns = [], []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        neighbour = _shift(index, axis, step, -1)[domain]
        given = _shift(fixed, axis, step, False)[domain]
        value = _shift(values, axis, step, 0.0)[domain]
        inner = neighbour >= 0
        diagonal += inner + given.astype(float)
        right += np.where(given, value, 0.0)
        rows.append(np.nonzero(inner)[0])
        columns.append(neighbour[inner])
    r, c = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.diags(diagonal) - sparse.csr_matrix((np.ones(len(r)), (r, c)), shape=(count, count))
    out[domain] = spsolve(matrix.tocsc(), right)
    return out


def _shift(array: NDArray, axis: int, step: int, fill: float) -> NDArray:
    """``array`` moved by one cell, so that each cell reads its neighbour."""
    out = np.full_like(array, fill)
    source, target = [slice(None)] * 2, [slice(None)] * 2
    source[axis], target[axis] = (slice(1, None), slice(None, -1)) if step > 0 else (slice(None, -1), slice(1, None))
    out[tuple(target)] = array[tuple(source)]
    return out


HAIR_OFFSET = 0.3  # centimetres that hair stands off the skin at least
STEEPNESS = 2.5  # a layer of hair falls back by this many times its width in the picture


def heights(head: Mask, face: Mask, outside: Mask, surface: Array, middle: float, cell: float) -> tuple[Array, Array]:
    """Height field of the shell's front, and of the plane in which its silhouette lies.

    Args:
        head: (H, W) cells of the head, face included.
        face: (H, W) cells where the face model is what the camera sees.
        outside: (H, W) cells of the background: where the head borders them is its silhouette.
        surface: (H, W) float32 z of the face model where it covers a cell, -inf elsewhere.
        middle: z of the head's middle, where the silhouette of thick hair lies.
        cell: size of a cell at the head's distance, in the unit of z.

    Returns:
        (H, W) float32 z of the front and (H, W) float32 z of the silhouette. A thin rim, as along the jaw, does not
        reach the middle.
    """
    rest = head & ~face
    fullness = np.clip(harmonic(rest, face | outside, face.astype(np.float32)), 0, 1)
    front = harmonic(rest, face, np.where(face, surface, middle).astype(np.float32))
    if face.any():
        front = np.where(head, front, push_pull(front, face.astype(np.float32)))
    width = cell * (_distance(face) + _distance(outside))
    depth = np.minimum(np.maximum(front - middle, 0), STEEPNESS * np.maximum(width - cell, cell))
    depth = np.where(head | outside, depth, 0)
    depth = cv2.GaussianBlur(push_pull(depth.astype(np.float32), head.astype(np.float32)), (0, 0), 1.5)
    bulge = np.sqrt(np.clip(1 - (1 - fullness) ** 2, 0, 1))
    z = front - depth * (1 - np.where(head, bulge, 0))
    z = np.where(rest & np.isfinite(surface), np.maximum(z, surface + HAIR_OFFSET), z)
    return z.astype(np.float32), (front - depth).astype(np.float32)


def _distance(mask: Mask) -> Array:
    """(H, W) distance in cells to the nearest cell of ``mask``."""
    if not mask.any():
        return np.full(mask.shape, float(sum(mask.shape)), np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def build_shell(
    camera: Camera,
    z: Array,
    rim: Array,
    weights: Array,
    cells: Mask,
    step: int,
    anchors: NDArray[np.int64],
    hair: Array,
) -> Shell:
    """Mesh of the shell over a grid of pixels.

    Args:
        camera: camera of the frame.
        z: (h, w) heights at the grid's points, which lie at pixel coordinates ``step * (column, row)``.
        rim: (h, w) z of the silhouette, at which the front is mirrored to make the back.
        weights: (h, w) share of the head's turn.
        cells: (h - 1, w - 1) grid squares that belong to the shell.
        step: grid spacing in pixels.
        anchors: (h, w) vertex of the face model seen at a point, -1 where there is none.
        hair: (h, w) share of hair.
    """
    h, w = z.shape
    xy = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32) * step
    front = camera.unproject(xy, -z)
    back = front.copy()
    back[..., 2] = 2 * rim - z
    back[..., :2] *= back[..., 2:] / front[..., 2:]  # on the same ray, so that it shows the same pixel
    row, column = np.nonzero(cells)
    a = row * w + column
    b, c, d = a + 1, a + w, a + w + 1
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    faces = np.concatenate([faces, faces[:, ::-1] + h * w]).astype(np.int64)
    normals = np.concatenate([grid_normals(front), -grid_normals(back)])
    points = np.concatenate([front.reshape(-1, 3), back.reshape(-1, 3)])
    anchor, away = _nearest(anchors)
    away = away * step * -z / camera.focal
    follow = (1 - smoothstep(away, 0, FOLLOW_RANGE)).astype(np.float32)
    skin_rim = ((hair < 0.3) & (away < RIM_WIDTH)).astype(np.float32)
    twice = np.tile(weights.reshape(-1), 2).astype(np.float32)
    return Shell(
        points=points,
        faces=faces,
        weights=twice,
        normals=normals,
        anchor=anchor.reshape(-1),
        follow=follow.reshape(-1),
        rim=skin_rim.reshape(-1),
        shape=(h, w),
        step=step,
    )


def _nearest(anchors: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
    """(h, w) the nearest anchor of each cell and its distance in cells."""
    known = anchors >= 0
    if not known.any():
        return np.zeros_like(anchors), np.full(anchors.shape, np.inf, np.float32)
    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(labels.max() + 1, np.int64)
    table[labels[known]] = anchors[known]
    return table[labels], distance


def grid_normals(points: Array, smooth: float = 2.0) -> Array:
    """(h, w, 3) points of a grid to (h w, 3) unit normals, towards the viewer, smoothed over some points."""
    points = cv2.GaussianBlur(points, (0, 0), smooth)
    right, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, right)
    return (
        (normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)).reshape(-1, 3).astype(np.float32)
    )


def to_grid(mask: Array, step: int) -> Array:
    """(H, W) float32 picture to its values at the grid's points, averaged over a grid square."""
    smooth = cv2.blur(mask, (step, step))
    h, w = (np.array(mask.shape) - 1) // step + 2
    rows = np.minimum(np.arange(h) * step, mask.shape[0] - 1)
    columns = np.minimum(np.arange(w) * step, mask.shape[1] - 1)
    return smooth[np.ix_(rows, columns)]
