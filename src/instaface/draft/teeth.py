"""The upper teeth: where the photo shows them to end, and the row that they make."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from instaface.draft.fill import smoothstep
from instaface.draft.sheet import on_head, sheet_faces
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

STEP = 0.02  # centimetres a sample
WIDE, HIGH = 1.0, 1.4  # centimetres to the sides, above and below the middle of the row's edge that are looked at
EDGE = 0.08  # centimetres: the vertices that make up the edge
ENOUGH = 0.4  # share of the columns that must show teeth
HIGHEST, LOWEST = 0.5, -0.2  # centimetres by which a row may stand higher than the face model's
CONTRAST = 0.06  # least difference of green over red between teeth and lips


def raised(
    model: MorphableModel, parameters: FaceParameters, vertices: Array, camera: Camera, photo: Array, mouth: Array
) -> Array:
    """(V,) float32 centimetres by which the photo's upper teeth stand higher than the face model's; 0 elsewhere.

    Args:
        model: the face model.
        parameters: the tracked face.
        vertices: (V, 3) of it, camera space.
        camera: of the photo.
        photo: (H, W, 3) float32 0..255.
        mouth: (H, W) float32, 1 where the face model's mouth is open.
    """
    out = np.zeros(len(vertices), np.float32)
    upper = upper_jaw(model)
    if not upper.any() or not mouth.any():
        return out
    # 1. The row's edge in the middle of the face, and the photo around it, upright.
    teeth = np.zeros(len(vertices), bool)
    teeth[np.asarray(model.regions["teeth"])] = True
    local = (vertices - np.asarray(parameters.translation[0])) @ np.asarray(rotation_from_angles(parameters.head[0]))
    front = np.flatnonzero(upper & teeth & (np.abs(local[:, 0]) < WIDE))
    edge = front[local[front, 1] < local[front, 1].min() + EDGE]
    window = _upright(vertices[edge].mean(0), parameters, camera)
    size = (round(2 * WIDE / STEP), round(2 * HIGH / STEP))
    colour, opening = (
        cv2.warpAffine(image, window, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) for image in (photo, mouth)
    )
    # 2. Where teeth end in each column.
    ends = _ends(colour, opening > 0.5)
    if np.isfinite(ends).mean() < ENOUGH:
        return out
    out[upper] = np.clip(HIGH - STEP * float(np.nanmedian(ends)), LOWEST, HIGHEST)
    return out


def upper_jaw(model: MorphableModel) -> Mask:
    """(V,) teeth and gums that stay where they are when the jaw opens."""
    out = np.zeros(len(model.head_weight), bool)
    if "teeth" not in model.regions or "jawOpen" not in model.expression_names:
        return out
    shut = model.neutral()
    ajar = shut.expression + 0  # a copy
    ajar[0, model.expression_names.index("jawOpen")] = 1
    before, after = (np.asarray(model.vertices(p)[0]) for p in (shut, shut.replace(expression=ajar)))
    moved = np.linalg.norm(after - before, axis=-1)
    for region in ("teeth", "gums"):
        out[np.asarray(model.regions[region])] = True
    return out & (moved < EDGE)


def _upright(middle: Array, parameters: FaceParameters, camera: Camera) -> Array:
    """(2, 3) from samples around a point of the head, rows along the head's height, to pixels."""
    turn = np.asarray(rotation_from_angles(parameters.head[0]))
    corners = np.stack([middle, middle + turn[:, 0], middle - turn[:, 1]])
    origin, right, down = camera.project(corners)[:, :2]
    right, down = STEP * (right - origin), STEP * (down - origin)
    start = origin - right * WIDE / STEP - down * HIGH / STEP - 0.5
    return np.stack([right, down, start], 1).astype(np.float64)


def _ends(colour: Array, opening: Mask) -> Array:
    """(columns,) row at which teeth end, nan where none are seen."""
    tooth = _is_tooth(colour, opening)
    if tooth is None:
        return np.full(opening.shape[1], np.nan, np.float32)
    score = np.cumsum(np.where(opening, tooth - 0.5, 0), 0)
    rows = np.where(score.max(0) > 3, score.argmax(0).astype(np.float32) + 1, np.nan)
    return rows.astype(np.float32)


def _is_tooth(colour: Array, opening: Mask) -> Array | None:
    """(H, W) 0..1, how likely a tooth: they are bright, and not as red as what is around; None where none are seen."""
    red, green = colour[..., 0] + 1, colour[..., 1] + 1
    hue = green / red
    if opening.sum() < 50 or (~opening).sum() < 50:
        return None
    bright = np.quantile(green[opening], 0.9)
    shining = opening & (green > 0.75 * bright)
    lips = cv2.dilate(opening.astype(np.uint8), np.ones((21, 1))) > opening
    if np.median(hue[shining]) - np.median(hue[lips]) < CONTRAST:
        return None
    middle = (np.median(hue[shining]) + np.median(hue[lips])) / 2
    tooth = smoothstep(hue, middle - CONTRAST / 2, middle + CONTRAST / 2) * smoothstep(green / bright, 0.35, 0.65)
    return tooth.astype(np.float32)


@dataclass(frozen=True)
class Row:
    """The upper teeth taken off a photo: one smooth sheet along the dental arch.

    The face model's teeth are not the person's: carried tooth by tooth, a photo's pixels break at every gap between.

    Attributes:
        rest: (N, 3) float32 centimetres, points about the neck joint of the unturned head.
        faces: (F, 3) int64, anticlockwise seen from outside.
        texels: (N, 2) float32 x and y in ``picture``.
        picture: (h, w, 4) float32 colour 0..255 and opacity 0..1.
        seen: (h, w) float32, 1 where that is the photo's own.
        hides: (F,) bool, triangles of the face model that it stands for.
    """

    rest: Array
    faces: NDArray[np.int64]
    texels: Array
    picture: Array
    seen: Array
    hides: Mask


HALF = 2.8  # centimetres of the arch to either side
ABOVE, BELOW = 1.6, 0.6  # centimetres of the sheet above and below the teeth's edge
CROWN = 1.2  # centimetres from a tooth's edge up to where gum begins
LONGER = 0.25  # centimetres by which a tooth may be longer than the face model's
NEAR = 0.12  # centimetres by which the mouth's opening may be off
GAP = 0.1  # centimetres of the mouth beyond a tooth, from which on one sees where it ends
SHORT = 0.12  # centimetres of a tooth that must be seen
PARTED = 0.25  # the same in the middle of the mouth
RIM = 0.08  # centimetres at the end of what is seen that lips colour
LOWER = 0.12  # centimetres by which a tooth may end lower than the row does
TOOTH = 0.6  # centimetres about as wide as a tooth
SOFT = 0.03  # centimetres over which a tooth's edge is soft


def find_row(
    model: MorphableModel, parameters: FaceParameters, camera: Camera, photo: Array, mouth: Array, rest: Array
) -> Row | None:
    """The row of upper teeth; None where the photo shows too little of it.

    Args:
        model: the face model.
        parameters: the tracked face.
        camera: of the photo.
        photo: (H, W, 3) float32 0..255.
        mouth: (H, W) float32, 1 where the face model's mouth is open.
        rest: (V, 3) float32 the unturned face, its neck joint in the origin, its teeth as high as the photo's.
    """
    upper = upper_jaw(model)
    if not upper.any() or not mouth.any():
        return None
    # 1. A sheet along the arch, and the photo on it, where teeth stand upright.
    upper[np.asarray(model.regions["gums"])] = False
    points, ends = _arch(rest[upper])
    at = camera.project(on_head(points.reshape(-1, 3), parameters))[:, :2] - 0.5
    x, y = np.moveaxis(at.reshape(*points.shape[:2], 2), -1, 0)
    colour, opening = (cv2.remap(image, x, y, cv2.INTER_LINEAR) for image in (photo, mouth))
    # 2. From where to where each column shows a tooth.
    reach, rows = np.ones((2 * round(NEAR / STEP) + 1,) * 2), np.arange(len(points))[:, None]
    opened = (cv2.dilate(opening, reach) > 0.5) & (rows < ends + LONGER / STEP)
    tooth = _is_tooth(colour, opened) if (opening > 0.5).sum(0).max() > SHORT / STEP else None
    if tooth is None:
        return None
    top, bottom = _longest_runs((tooth > 0.5) & opened)
    shown = bottom - top > SHORT / STEP
    middle = (bottom - top)[np.abs(points[0, :, 0]) < WIDE]
    if (middle > PARTED / STEP).mean() < ENOUGH:
        return None
    # Between and beside teeth the mouth is as the photo shows it, down to where the row goes on.
    edge = ends + np.median((bottom - ends)[shown])
    bottom = np.minimum(bottom, (edge + LOWER / STEP).astype(int))  # what is lower belongs to the teeth below
    first, last = _longest_runs((cv2.erode(opening, reach) > 0.5) & (rows < edge))
    top, bottom = np.where(shown, top, first), np.where(shown, bottom, last)
    # 3. Each column goes on upwards, and down to where its tooth ends.
    picture, seen = _continued(colour, opened, top, bottom, bottom - top > SHORT / STEP, edge)
    return Row(*_grid(points), picture, seen, upper[np.asarray(model.faces)].all(1))


DARK, SEEN = 0.3, 0.1  # brightness of what is no tooth, of the skin's; square centimetres that must be seen of it


def not_shown(
    model: MorphableModel, vertex: NDArray[np.int64], opening: Array, scale: float, photo: Array, skin: Array
) -> Mask:
    """(F,) triangles of the upper teeth and gums, if the photo shows darkness where the face model has these teeth: an
    upper lip hides them, and they are not to come out from under it.

    Args:
        model: the face model.
        vertex: (H, W) the vertex that is nearest to what each pixel sees of it, -1 for none.
        opening: (H, W) float32, 1 where the mouth is open for certain.
        scale: pixels a centimetre there.
        photo: (H, W, 3) float32 0..255.
        skin: (H, W) float32, 1 where bare skin is seen.
    """
    faces, jaw = np.asarray(model.faces), upper_jaw(model)
    none = np.zeros(len(faces), bool)
    teeth = jaw.copy()
    teeth[np.asarray(model.regions.get("gums", ()), int)] = False
    there = (opening > 0.5) & teeth[vertex] & (vertex >= 0)
    if there.sum() < SEEN * scale**2 or not (skin > 0.9).any():
        return none
    green = photo[..., 1]
    dark = np.quantile(green[there], 0.8) < DARK * np.median(green[skin > 0.9])
    return jaw[faces].all(1) if dark else none


def _arch(teeth: Array) -> tuple[Array, Array]:
    """(h, w, 3) points on a smooth sheet along the front of teeth, ``STEP`` apart, and (w,) rows of their edge."""
    x = np.arange(-HALF, HALF, STEP)
    near = np.abs(teeth[:, 0] - x[:, None]) < WIDE / 4
    front = np.where(near, teeth[:, 2], -np.inf).max(1)
    edge = np.where(near, teeth[:, 1], np.inf).min(1)
    held = np.isfinite(front)
    z, edge = (np.polyval(np.polyfit(x[held], values[held], 4), x) for values in (front, edge))
    y = np.arange(edge.mean() + ABOVE, edge.mean() - BELOW, -STEP)
    grid = np.stack(np.broadcast_arrays(x, y[:, None], z), -1)
    return grid.astype(np.float32), ((y[0] - edge) / STEP).astype(np.float32)


def _longest_runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(w,) first and last but one row of the longest run of True in each column."""
    length = np.zeros(mask.shape, np.int64)
    run = np.zeros(mask.shape[1], np.int64)
    for row, true in enumerate(mask):
        run = (run + 1) * true
        length[row] = run
    last = length.argmax(0)
    return last + 1 - length.max(0), last + 1


def _continued(
    colour: Array, opened: Mask, top: NDArray[np.int64], bottom: NDArray[np.int64], known: Mask, edge: Array
) -> tuple[Array, Array]:
    """Picture and what is seen of it, see :class:`Row`.

    Args:
        colour: (h, w, 3) of the photo.
        opened: (h, w) where the mouth is open.
        top, bottom: (w,) rows between which a column shows the row of teeth.
        known: (w,) columns that do; beyond them the row is mirrored.
        edge: (w,) rows where teeth end if nothing is seen of that.
    """
    rows, columns = np.arange(len(colour))[:, None], np.arange(len(known))
    first, last = np.flatnonzero(known)[[0, -1]]
    own = np.where(columns < first, 2 * first - columns, np.minimum(columns, 2 * last - columns)).clip(first, last)
    tooth, bottom, opened = top[own], bottom[own], opened[:, own]
    # Gum between lip and teeth is the photo's as well.
    top = np.minimum(np.where(opened.any(0), opened.argmax(0), tooth), tooth)
    rim = RIM / STEP
    inner = np.clip(rows, np.minimum(top + rim, bottom), np.maximum(bottom - rim, top)).round().astype(int)
    below = ((rows >= bottom) & opened).sum(0) > (GAP + NEAR) / STEP
    below = cv2.blur(below.astype(np.float32)[None], (round(TOOTH / STEP), 1))[0] > 0.5
    soft = SOFT / STEP
    lowest = _even(np.where(below, bottom, np.maximum(bottom, edge)), soft)
    alpha = smoothstep(lowest - rows, -soft, soft) * smoothstep(rows - edge + CROWN / STEP, 0, 8 * soft)
    seen = (rows >= top) & (rows < bottom) & (columns >= first) & (columns <= last)
    return np.dstack([colour[inner, own], alpha]).astype(np.float32), seen.astype(np.float32)


def _even(rows: Array, soft: float) -> Array:
    return cv2.GaussianBlur(median_filter(rows, round(8 * soft)).astype(np.float32)[None], (0, 0), soft)[0]


EVERY = 8  # texels between points of the sheet


def _grid(points: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """Points, triangles and texels of a sheet from points at each of its texels."""
    grid = points[::EVERY, ::EVERY]
    rows, columns = grid.shape[:2]
    texels = np.stack(np.meshgrid(np.arange(columns) * EVERY, np.arange(rows) * EVERY), -1)
    return grid.reshape(-1, 3), sheet_faces(rows, columns), texels.reshape(-1, 2).astype(np.float32)
