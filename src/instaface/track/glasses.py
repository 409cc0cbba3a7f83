"""Glasses: whether a face wears any, and which pixels are theirs.

A frame is recognised by a linear model over histograms of oriented gradients (Dalal and Triggs 2005) of the strip
around the eyes, learned from portraits by ``tools/build_glasses.py``. Where one is recognised, its rims are the closed
paths around the eyes, its bridge and temples the open ones, along which the picture most looks like a line, found by
dynamic programming. What along them disagrees with its surroundings is the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

OUTER_CORNERS = 33, 263  # landmarks
EYES = (33, 133, 159, 145), (263, 362, 386, 374)  # landmarks around each eye, the one on the picture's left first
NOSE_ROOT = 168  # landmark
CORNER_DISTANCE, BORDER = 160, 96  # pixels between the eyes' outer corners in the strip, and from them to its border
STRIP = CORNER_DISTANCE + 2 * BORDER, 256  # width and height of the strip around the eyes, in which glasses are sought
SMALLEST = 30.0  # pixels between the eyes' outer corners of a photo below which rims are not to be seen
CERTAIN = 1.5  # log-odds: nobody in 3,300 portraits without glasses reached it when left out of what was learned
ANGLES, RADII = 96, 40  # of the polar pictures in which rims are sought
SCALES = 0.9, 1.8  # standard deviations of line filters, in steps of the paths' grids
APART = 9  # steps by which one rim may differ from the mean of both
FAINT = 0.7  # CIE L by which a rim below the eye differs from its surroundings at least
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)  # landmarks
BEND = 0.6  # cost of a path's step aside
TINTED = 14.0  # CIE L by which a lens darkens the skin from which it belongs to sunglasses


@dataclass(frozen=True)
class Glasses:
    """Glasses in a picture.

    Attributes:
        alpha: (H, W) float32 0..1, opacity of the frame.
        rims: (2, N, 2) float32 points on the rims around either eye, pixels; the rim on the picture's left first.
        width: of the rims' line in pixels.
    """

    alpha: Floats
    rims: Floats
    width: float


def find_glasses(pixels: NDArray[np.uint8], landmarks: Floats) -> Glasses | None:
    """The glasses of a face; None where it wears none, or none that can be told from the face: rimless
    ones without a clear line below the eyes, and sunglasses, behind which nothing is known of it.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        landmarks: (478, 2) MediaPipe Face Mesh landmarks in pixels.
    """
    import cv2

    left, right = landmarks[list(OUTER_CORNERS)]
    if np.linalg.norm(right - left) < SMALLEST:
        return None
    to_picture = _alignment(left, right)
    strip = cv2.warpAffine(pixels, to_picture, STRIP, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if likelihood(strip) < CERTAIN:
        return None
    turn, shift = to_picture[:, :2], to_picture[:, 2]
    found = _trace(strip, ((landmarks - shift) @ np.linalg.inv(turn).T).astype(np.float32))
    if found is None:
        return None
    height, width = pixels.shape[:2]
    scale = float(np.sqrt(np.linalg.det(turn)))
    rims: Floats = np.asarray(found.rims) @ turn.T + shift
    alpha = cv2.warpAffine(found.alpha, to_picture, (width, height), flags=cv2.INTER_LINEAR)
    return Glasses(alpha, rims.astype(np.float32), found.width * scale)


def _alignment(left: Floats, right: Floats) -> Floats:
    """(2, 3) affine map from the strip's pixels to the picture's."""
    along = (right - left) / CORNER_DISTANCE
    turn = np.array([[along[0], -along[1]], [along[1], along[0]]])
    return np.column_stack([turn, left - turn @ (BORDER, BORDER)])


def features(strip: NDArray[np.uint8]) -> Floats:
    """(D,) histograms of oriented gradients of a strip, that of its mirror image included in the mean of either.

    Args:
        strip: (256, 352, 3) uint8 RGB as :func:`find_glasses` cuts it.
    """
    import cv2

    grey = cv2.GaussianBlur(cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY), (0, 0), 1.4)
    # Half size, from above the brows to the nose's tip.
    grey = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)[8:104, 8:168]
    histograms = cv2.HOGDescriptor((160, 96), (32, 32), (16, 16), (16, 16), 9)
    sides = (histograms.compute(np.ascontiguousarray(picture)) for picture in (grey, grey[:, ::-1]))
    return np.mean(list(sides), 0, dtype=np.float32)


@cache
def _classifier() -> tuple[Floats, float]:
    with np.load(Path(__file__).parents[1] / "assets" / "glasses.npz") as stored:
        return stored["weights"], float(stored["bias"])


def likelihood(strip: NDArray[np.uint8]) -> float:
    """Log-odds that the eyes in a strip are behind glasses."""
    weights, bias = _classifier()
    return float(features(strip) @ weights + bias)


def _trace(strip: NDArray[np.uint8], landmarks: Floats) -> Glasses | None:
    """The glasses in a strip in which they are; None where their rims are not to be seen."""
    import cv2

    lab = cv2.cvtColor(strip.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    eyes = [landmarks[list(eye)].mean(0) for eye in EYES]
    unit = float(np.linalg.norm(eyes[1] - eyes[0]))
    # In a turned head the lenses, which lie before the eyes as the nose's root does, are seen beside them.
    aside = landmarks[NOSE_ROOT, 0] - (eyes[0][0] + eyes[1][0]) / 2
    eyes = [eye + np.array([aside, 0], np.float32) for eye in eyes]
    # 1. The paths.
    light = _without_brows(lab[..., 0], landmarks)
    found = _rims(light, eyes, unit)
    if found is None:
        return None
    rims, width = found
    paths = [_bridge(light, (rims[0][0], rims[1][0]), unit)]
    paths += [_temple(light, rim, unit, outward) for rim, outward in zip(rims, (-1, 1), strict=True)]
    # 2. Dark lenses hide too much of the face for it to be seen without them.
    lenses = [cv2.fillPoly(np.zeros(strip.shape[:2], np.uint8), [np.rint(rim).astype(np.int32)], 1) for rim in rims]
    if all(_darkens(lab[..., 0], lens, eye, unit) for lens, eye in zip(lenses, eyes, strict=True)):
        return None
    # 3. What lies close to a path and differs from what surrounds it.
    lines = np.zeros(strip.shape[:2], np.uint8)
    for rim in rims:
        cv2.polylines(lines, [np.rint(rim).astype(np.int32)], True, 1, 1)
    for path in paths:
        if len(path) > 1:
            cv2.polylines(lines, [np.rint(path).astype(np.int32)], False, 1, 1)
    away = cv2.distanceTransform(1 - lines, cv2.DIST_L2, 3)
    around = _odd(3 * width + 4)
    smooth = np.dstack([cv2.medianBlur(channel, around) for channel in np.moveaxis(strip, -1, 0)])
    smooth = cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    differs = cv2.GaussianBlur(np.linalg.norm(lab - smooth, axis=-1), (0, 0), 0.7)
    alpha = _step(differs, 2.0, 7.0) * (1 - _step(away, 0.6 * width + 1, 0.9 * width + 3))
    return Glasses(alpha.astype(np.float32), rims.astype(np.float32), width)


def _odd(size: float) -> int:
    return 2 * int(size / 2) + 1


def _step(x: Floats, low: float, high: float) -> Floats:
    return np.clip((x - low) / (high - low), 0, 1)


def _lines(grid: Floats) -> Floats:
    """(N, M) how much each row's points look like a line that runs across it, dark or bright."""
    import cv2

    found = [
        np.abs(cv2.GaussianBlur(grid, (0, 0), 2.2 * s, sigmaY=1) - cv2.GaussianBlur(grid, (0, 0), s, sigmaY=1))
        for s in SCALES
    ]
    return np.minimum(np.maximum(*found), 6.0)


def best_path(gain: Floats) -> NDArray[np.int64]:
    """(N,) column of each row of the path down an (N, M) array that gains most, less what its bends cost."""
    rows, columns = gain.shape
    total, came = gain[0].astype(np.float64), np.zeros((rows, columns), np.int64)
    steps = np.arange(-2, 3)
    for row in range(1, rows):
        padded = np.pad(total, 2, constant_values=-np.inf)
        choices = np.stack([padded[2 - step : 2 - step + columns] - BEND * step**2 for step in steps])
        best = choices.argmax(0)
        came[row] = np.arange(columns) - steps[best]
        total = choices.max(0) + gain[row]
    path = [int(total.argmax())]
    for row in range(rows - 1, 0, -1):
        path.append(int(came[row][path[-1]]))
    return np.array(path[::-1])


def _sample(light: Floats, x: Floats, y: Floats) -> Floats:
    import cv2

    return cv2.remap(
        light, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _without_brows(light: Floats, landmarks: Floats) -> Floats:
    """CIE L with the brows painted over by what lies around them: they look like the upper rims."""
    import cv2

    brows = np.zeros(light.shape, np.uint8)
    for brow in BROWS:
        cv2.fillPoly(brows, [np.rint(landmarks[list(brow)]).astype(np.int32)], 1)
    brows = cv2.dilate(brows, np.ones((5, 5), np.uint8))
    return cv2.inpaint(np.rint(2.55 * light).astype(np.uint8), brows, 3, cv2.INPAINT_TELEA).astype(np.float32) / 2.55


def _rims(light: Floats, eyes: list[Floats], unit: float) -> tuple[Floats, float] | None:
    """Rims around both eyes, about mirror images of each other, and the width of their line in pixels.

    Args:
        light: (H, W) CIE L.
        eyes: (2,) centres, the one on the picture's left first.
        unit: their distance in pixels.

    Returns:
        (2, N, 2) points of each rim, the nasal one first, then downwards, and the width; None where below the eyes
        there is no clear line.
    """
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    radius = np.linspace(0.22, 0.62, RADII) * unit
    r, a = np.meshgrid(radius, angle)
    sides = [
        (eye[0] + side * (1.18 * r * np.cos(a) - 0.04 * unit), eye[1] + r * np.sin(a) + 0.06 * unit)
        for eye, side in zip(eyes, (1, -1), strict=True)
    ]
    grids = [_sample(light, x, y) for x, y in sides]
    gains = [_lines(grid) for grid in grids]
    both = _closed((gains[0] + gains[1]) / 2)
    near = np.abs(np.arange(RADII) - both[:, None]) <= APART
    row, below = np.arange(ANGLES), (angle > 0.15 * np.pi) & (angle < 0.85 * np.pi)
    rims, widths = [], []
    for (x, y), grid, gain in zip(sides, grids, gains, strict=True):
        path = _closed(np.where(near, gain, -6.0))
        if np.quantile(gain[row, path][below], 0.3) < FAINT or path[below].max() > RADII - 3:
            return None
        rims.append(np.stack([x[row, path], y[row, path]], -1))
        widths.append(_line_width(grid[below], path[below]) * (radius[1] - radius[0]))
    return np.stack(rims), float(np.clip(np.mean(widths), 2.0, 0.07 * unit))


def _closed(gain: Floats) -> NDArray[np.int64]:
    """(N,) the best path of an array whose last row borders on its first."""
    return best_path(np.tile(gain, (3, 1)))[len(gain) : 2 * len(gain)]


def _line_width(grid: Floats, path: NDArray[np.int64]) -> float:
    """Usual width of the line along a path, in columns of the grid: where it has half of its contrast."""
    reach = np.arange(-9, 10)
    columns = np.clip(path[:, None] + reach, 0, grid.shape[1] - 1)
    profile = np.take_along_axis(grid, columns, 1)
    apart = np.abs(profile - np.median(profile[:, [0, 1, -2, -1]], 1, keepdims=True)).mean(0)
    apart = apart - apart.min()
    return float((apart > 0.5 * apart[8:11].max()).sum())


def _bridge(light: Floats, ends: tuple[Floats, Floats], unit: float) -> Floats:
    """(N, 2) points from rim to rim over the nose."""
    across = np.linspace(ends[0][0], ends[1][0], 24)
    middle = (ends[0][1] + ends[1][1]) / 2
    y, x = np.meshgrid(np.linspace(middle - 0.28 * unit, middle + 0.2 * unit, 40), across)
    path = best_path(_lines(_sample(light, x, y)))
    return np.stack([across, y[np.arange(len(across)), path]], -1)


def _temple(light: Floats, rim: Floats, unit: float, outward: int) -> Floats:
    """(N, 2) points from the rim's outermost point towards the ear, as far as a line is seen."""
    start = rim[(outward * rim[:, 0]).argmax()]
    across = np.arange(start[0], light.shape[1] - 2 if outward > 0 else 1, outward)
    if len(across) < 2:
        return start[None]
    height = np.linspace(start[1] - 0.3 * unit, start[1] + 0.2 * unit, 44)
    y, x = np.meshgrid(height, across)
    gain = _lines(_sample(light, x, y))
    path = best_path(gain)
    row = np.arange(len(across))
    seen = np.cumsum(gain[row, path] - 1.2)
    end = int(seen.argmax()) + 1 if seen.max() > 0 else 1
    return np.stack([across, y[row, path]], -1)[:end]


def _darkens(light: Floats, lens: NDArray[np.uint8], eye: Floats, unit: float) -> bool:
    """Whether the skin below the eye is much darker behind the lens than below it."""
    rows, columns = np.nonzero(lens)
    inside = (rows > eye[1] + 0.14 * unit) & (np.abs(columns - eye[0]) < 0.3 * unit)
    bottom = rows.max()
    below = light[bottom + round(0.1 * unit) : bottom + round(0.3 * unit), columns.min() : columns.max()]
    if inside.sum() < 20 or not below.size:
        return False
    return bool(np.median(below) - np.median(light[rows[inside], columns[inside]]) > TINTED)
