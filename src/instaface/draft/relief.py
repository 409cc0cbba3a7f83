"""Hair and the rest of the head that the face model does not cover, as a closed shell.

The shell is a height field over the photo: the face model's own relief, drawn out to the head's silhouette. Its back
is its front mirrored at the plane in which the skull's outline lies. Turned with the head it behaves as a volume: the
near side comes round, the far side goes, the silhouette stays closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from instaface.draft.fill import smoothstep
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
        rim: (N,) float32, 1 just outside of the face, where the face model's outline may be off.
        nearer: (2 N,) float32 factor that brings skin between the face and the background to the depth of that, else 1.
        hanging: (N,) points of hair that hangs behind the face.
        lookup: (2 N, 2) float32 pixels of a point in a picture of hair that goes on, see :func:`unrolled`.
        hairy: (2 N,) float32 0..1 where that is what a point shows once it has turned.
        hairy_raised: the same once the head is raised.
        solid: (2 N,) float32 0..1 where the head is opaque, smooth.
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
    nearer: Array
    hanging: Mask
    lookup: Array
    hairy: Array
    hairy_raised: Array
    solid: Array
    shape: tuple[int, int]
    step: int


RIM_WIDTH = 1.5  # centimetres by which the face model's outline may be off
FOLLOW_RANGE = 2.0  # centimetres over which the face's expression fades out in what surrounds it


def harmonic(domain: Mask, fixed: Mask, values: Array) -> Array:
    """Solves Laplace's equation on a grid.

    Args:
        domain: (H, W) cells to solve for. Borders to cells neither in ``domain`` nor ``fixed`` are free (Neumann).
        fixed: (H, W) cells whose value is given (Dirichlet).
        values: (H, W) or (H, W, C) float32 given values.

    Returns:
        float32 of the same shape: the solution in ``domain``, ``values`` elsewhere.
    """
    domain = domain & ~fixed
    count = int(domain.sum())
    out = values.astype(np.float32).copy()
    if not count or not fixed.any():
        return out
    layers = np.atleast_3d(values).astype(float)
    index = np.full(domain.shape, -1)
    index[domain] = np.arange(count)
    diagonal, right = np.full(count, 1e-6), 1e-6 * np.repeat(layers[fixed].mean(0)[None], count, 0)
    rows, columns = [], []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        neighbour = _shift(index, axis, step, -1)[domain]
        given = _shift(fixed, axis, step, False)[domain]
        inner = neighbour >= 0
        diagonal += inner + given.astype(float)
        right += np.where(given[:, None], _shift(layers, axis, step, 0.0)[domain], 0.0)
        rows.append(np.nonzero(inner)[0])
        columns.append(neighbour[inner])
    r, c = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.diags(diagonal) - sparse.csr_matrix((np.ones(len(r)), (r, c)), shape=(count, count))
    out[domain] = splu(matrix.tocsc()).solve(right).reshape(out[domain].shape)
    return out


def _shift(array: NDArray, axis: int, step: int, fill: float) -> NDArray:
    """``array`` moved by one cell, so that each cell reads its neighbour."""
    out = np.full_like(array, fill)
    source, target = [slice(None)] * array.ndim, [slice(None)] * array.ndim
    source[axis], target[axis] = (slice(1, None), slice(None, -1)) if step > 0 else (slice(None, -1), slice(1, None))
    out[tuple(target)] = array[tuple(source)]
    return out


HAIR_OFFSET = 0.3  # centimetres that hair stands off the skin at least
HAIRLINE = 0.5  # centimetres over which it rises to that
LOCK = 0.9  # centimetres over which hair in front of jaw and neck falls back beside them
MISFIT = 0.8  # centimetres by which the face model's outline may lie within hair that hangs behind it
DROP = 2.0  # centimetres from the cheek back to hair that frames it
SOLID = 0.9  # share of hair from which on one does not see through it
BEHIND = 2.5  # centimetres by which such hair goes on behind the face


@dataclass(frozen=True)
class Relief:
    """Height field of the shell's front over (h, w) cells.

    Attributes:
        z: (h, w) float32.
        hanging: (h, w) cells of hair that hangs behind the face.
        behind: (h, w) cells of the face behind which it goes on.
    """

    z: Array
    hanging: Mask
    behind: Mask


def heights(
    head: Mask,
    face: Mask,
    outside: Mask,
    surface: Array,
    skull: Array,
    neck: Mask,
    framing: Mask,
    low: Array,
    share: Array,
    middle: float,
    cell: float,
) -> Relief:
    """Height field of the shell's front.

    The face model's own relief is drawn out until its outline lies in the head's: the displacement is zero where the
    face ends, joins the two outlines, and is harmonic between. So hair hugs the skull at the hairline, has the skull's
    shape farther out. Hair that hangs beside jaw and neck lies in the middle, and goes on behind the face.

    Args:
        head: (H, W) cells of the head, face included.
        face: (H, W) cells where the face model is what the camera sees.
        outside: (H, W) cells of the background: where the head borders them is its silhouette.
        surface: (H, W) float32 z of the face model where it covers a cell, -inf elsewhere.
        skull: (H, W) float32 the same without the ears.
        neck: (H, W) cells where the face model shows its neck.
        framing: (W,) columns on that side of the face on which hair hides the ear, and so hangs right beside the cheek.
        low: (H, W) float32, from 0 at the ears' top to 1 below them.
        share: (H, W) float32 0..1 of hair.
        middle: z of the plane in which the skull's outline lies.
        cell: size of a cell at the head's distance, in the unit of z.

    """
    covered = np.isfinite(skull)
    border = covered & (cv2.erode(covered.astype(np.uint8), np.ones((3, 3)), borderValue=1) == 0)
    own = np.stack(np.meshgrid(np.arange(head.shape[1]), np.arange(head.shape[0])), -1).astype(np.float32)
    y, x = _nearest_cells(border)
    relief = np.where(covered & ~border, np.maximum(skull, middle), middle).astype(np.float32)
    to_border = np.stack([x, y], -1) - own
    drawn = own + harmonic(head & ~face, face | outside, np.where(outside[..., None], to_border, 0).astype(np.float32))
    z = cv2.remap(relief, drawn[..., 0], drawn[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    z = np.where(face, surface, cv2.GaussianBlur(z, (0, 0), 1.0))
    rise = HAIR_OFFSET * (1 - np.exp(-cell * _distance(face) / HAIRLINE))
    # Hair that covers part of jaw or neck falls back beside them without a wall between.
    edge = cv2.GaussianBlur(np.maximum(skull[y, x] - middle, 0), (0, 0), 3.0)
    from_border, to_outside = cell * _distance(covered), cell * _distance(outside)
    fall = np.exp(-((from_border / LOCK) ** 2)) * to_outside / (to_outside + from_border + 1e-6)
    z = np.where(covered | face, z, np.maximum(z, middle + edge * fall))
    z = np.where(np.isfinite(surface) & ~face, np.maximum(z, surface + rise), z)
    # Hair that borders on them hangs behind: the more so, the lower it is.
    hair = share > 0.5
    hairy = head & ~face & hair
    over = covered & ~neck
    hanging = hairy & (low > 0) & (_distance(~over) * cell < MISFIT)
    hanging &= _distance(hairy & over & ~hanging) * cell > MISFIT
    away = _distance(hanging)
    inner = (face | (head & ~hair)) & (away < _distance(hairy & ~hanging))
    behind = inner & (_distance(hanging & (share > SOLID)) * cell < BEHIND)  # one sees past single strands
    beside = cv2.GaussianBlur(_from_nearest(surface, face), (0, 0), 3.0)
    back = np.where(framing, np.maximum(beside - DROP - cell * _distance(face), middle), middle)
    z = np.where(hanging, z + low * (np.minimum(z, back) - z), z)
    z = np.where(hanging | behind, cv2.GaussianBlur(_from_nearest(z, hanging), (0, 0), 1.5), z)
    return Relief(z.astype(np.float32), hanging, behind)


def _from_nearest(values: Array, known: Mask) -> Array:
    """(H, W) values of the nearest known cell."""
    return values[_nearest_cells(known)] if known.any() else values


def _nearest_cells(known: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the known cell that is nearest to each cell."""
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(known)
    table = np.zeros((labels.max() + 1, 2), np.int64)
    table[labels[known]] = np.stack([rows, columns], -1)
    y, x = np.moveaxis(table[labels], -1, 0)
    return y, x


def _distance(mask: Mask) -> Array:
    """(H, W) distance in cells to the nearest cell of ``mask``."""
    if not mask.any():
        return np.full(mask.shape, float(sum(mask.shape)), np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def build_shell(
    camera: Camera,
    relief: Relief,
    middle: float | Array,
    weights: Array,
    cells: Mask,
    step: int,
    anchors: NDArray[np.int64],
    hair: Array,
    opacity: Array,
) -> Shell:
    """Mesh of the shell over a grid of pixels.

    Args:
        camera: camera of the frame.
        relief: heights at the grid's points, which lie at pixel coordinates ``step * (column, row)``.
        middle: z of the plane at which the front is mirrored to make the back, one or (h, w) of them.
        weights: (h, w) share of the head's turn.
        cells: (h - 1, w - 1) grid squares that belong to the shell.
        step: grid spacing in pixels.
        anchors: (h, w) vertex of the face model seen at a point, -1 where there is none.
        hair: (h, w) share of hair.
        opacity: (h, w) of the head.
    """
    z = relief.z
    h, w = z.shape
    xy = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32) * step
    front = camera.unproject(xy, -z)
    back = front.copy()
    back[..., 2] = np.minimum(2 * middle - z, z)
    back[..., :2] *= back[..., 2:] / front[..., 2:]  # on the same ray, so that it shows the same pixel
    row, column = np.nonzero(cells)
    a = row * w + column
    b, c, d = a + 1, a + w, a + w + 1
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    faces = np.concatenate([faces, faces[:, ::-1] + h * w]).astype(np.int64)
    normals = np.concatenate([grid_normals(front), -grid_normals(back)])
    face, cell = anchors >= 0, step * -float(np.median(z)) / camera.focal
    hidden = _behind_the_face(relief.behind, face, hair, opacity)
    lookup = unrolled(front, back, normals[: h * w].reshape(h, w, 3), hidden, step, camera.focal)
    points = np.concatenate([front.reshape(-1, 3), back.reshape(-1, 3)])
    edge, deep = _before_background(face, hair, opacity, cell).reshape(-1), _from_nearest(z, face).reshape(-1)

    def hairy(share: Array) -> Array:
        return np.tile(smoothstep(_from_nearest(share, opacity > SOLID), 0.2, 0.4).reshape(-1), 2)

    anchor, away = _nearest(anchors)
    away = away * step * -z / camera.focal
    follow = (1 - smoothstep(away, 0, FOLLOW_RANGE)).astype(np.float32)
    twice = np.tile(weights.reshape(-1), 2).astype(np.float32)
    return Shell(
        points=points,
        faces=faces,
        weights=twice,
        normals=normals,
        anchor=anchor.reshape(-1),
        follow=follow.reshape(-1),
        rim=(away < RIM_WIDTH).astype(np.float32).reshape(-1),
        nearer=np.where(np.tile(edge, 2), np.tile(deep, 2) / points[:, 2], 1).astype(np.float32),
        hanging=relief.hanging.reshape(-1),
        lookup=lookup,
        hairy=hairy(hidden),
        hairy_raised=hairy(_uncovered(hidden, face, hair, opacity, cell)),
        solid=np.tile(smoothstep(cv2.GaussianBlur(opacity, (0, 0), 1.5), 0.15, 0.4).reshape(-1), 2),
        shape=(h, w),
        step=step,
    )


SOLID = 0.7  # opacity from which on hair is told from skin; around it what is nearest counts
OFF = 2  # cells by which the face model's outline may be off


def _behind_the_face(behind: Mask, face: Mask, hair: Array, opacity: Array) -> Array:
    """(h, w) share of hair: 0.5 where it goes on unseen ``behind`` the face, since it is hair that is next to it."""
    beside = (opacity > 0.5) & (_distance(face) > OFF)
    return np.where(behind & (_from_nearest(hair, beside) > 0.5), 0.5, hair).astype(np.float32)


STRIP = 1.5  # centimetres by which skin that is seen beside the face goes on behind it once it is raised


def _uncovered(hidden: Array, face: Mask, hair: Array, opacity: Array, cell: float) -> Array:
    """(h, w) the share of hair ``hidden`` behind the face, as a raised head shows it: where skin is seen between face
    and hair, skin goes on first, since it lies deeper than the face and is left behind."""
    strip = ~face & (opacity > SOLID) & (hair < 0.2)
    return np.where(_distance(strip) * cell < STRIP, hair, hidden)


def _before_background(face: Mask, hair: Array, opacity: Array, cell: float) -> Mask:
    """(h, w) cells just outside of the ``face`` that lie between it and the background, where no ``hair`` is."""
    outside = ~face & (_distance(face) * cell < RIM_WIDTH)
    return outside & (_distance(opacity < 0.5) < _distance(hair > 0.3))


FACED = 0.35  # cosine between surface and line of sight from which on the photo's pixels show the surface well
ROUND = 6.0  # cells over which the directions in which hair goes on are averaged, so that it is not torn


def unrolled(front: Array, back: Array, normals: Array, hair: Array, step: int, focal: float) -> Array:
    """Where each point of the shell lies in a picture of the hair that goes on beyond what the photo shows of it.

    A point whose surface the camera saw from its edge, or not at all, lies as far beyond the nearest well seen point as
    it lies behind it, measured along the shell: hair comes round at its own scale.

    Args:
        front, back: (h, w, 3) points of the shell, whose pixels are ``step * (column, row)``.
        normals: (h, w, 3) of the front.
        hair: (h, w) share of hair.
        step: pixels between points.
        focal: focal length in pixels.

    Returns:
        (2 h w, 2) float32 pixels, those of the front, then those of the back.
    """
    h, w = hair.shape
    own = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32)
    seen = (hair > 0.9) & (-(normals * front).sum(-1) / np.linalg.norm(front, axis=-1) > FACED)
    seen = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 2.0) > 0.5
    if not seen.any():
        return np.tile(own.reshape(-1, 2) * step, (2, 1))
    y, x = _nearest_cells(seen)
    origin = np.stack([x, y], -1).astype(np.float32)
    outward = own - origin
    outward = cv2.GaussianBlur(outward / np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1), (0, 0), ROUND)
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-6)
    out = []
    for points in (front, back):
        away = np.linalg.norm(points - front[y, x], axis=-1) * focal / (-front[y, x, 2] * step)
        target = origin + outward * away[..., None]
        out.append(cv2.GaussianBlur(target.astype(np.float32), (0, 0), 0.7).reshape(-1, 2) * step)
    return np.concatenate(out).astype(np.float32)


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
