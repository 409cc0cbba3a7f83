"""Where the photo shows the upper teeth to end, so that the face model's row ends there too."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from instaface.draft.fill import smoothstep
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles

Array = NDArray[np.float32]

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
    teeth[model.regions["teeth"].numpy()] = True
    local = (vertices - parameters.translation[0].numpy()) @ rotation_from_angles(parameters.head[0]).numpy()
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


def upper_jaw(model: MorphableModel) -> NDArray[np.bool_]:
    """(V,) teeth and gums that stay where they are when the jaw opens."""
    out = np.zeros(len(model.head_weight), bool)
    if "teeth" not in model.regions or "jawOpen" not in model.expression_names:
        return out
    shut = model.neutral()
    ajar = shut.expression.clone()
    ajar[0, model.expression_names.index("jawOpen")] = 1
    with torch.no_grad():
        moved = (model.vertices(shut.replace(expression=ajar)) - model.vertices(shut))[0].norm(dim=-1).numpy()
    for region in ("teeth", "gums"):
        out[model.regions[region].numpy()] = True
    return out & (moved < EDGE)


def _upright(middle: Array, parameters: FaceParameters, camera: Camera) -> Array:
    """(2, 3) from samples around a point of the head, rows along the head's height, to pixels."""
    turn = rotation_from_angles(parameters.head[0]).numpy()
    corners = np.stack([middle, middle + turn[:, 0], middle - turn[:, 1]])
    origin, right, down = camera.project(torch.from_numpy(corners)).numpy()[:, :2]
    right, down = STEP * (right - origin), STEP * (down - origin)
    start = origin - right * WIDE / STEP - down * HIGH / STEP - 0.5
    return np.stack([right, down, start], 1).astype(np.float64)


def _ends(colour: Array, opening: NDArray[np.bool_]) -> Array:
    """(columns,) row at which teeth end, nan where none are seen: they are bright, and not as red as what is around."""
    red, green = colour[..., 0] + 1, colour[..., 1] + 1
    hue = green / red
    if opening.sum() < 50 or (~opening).sum() < 50:
        return np.full(opening.shape[1], np.nan, np.float32)
    bright = np.quantile(green[opening], 0.9)
    shining = opening & (green > 0.75 * bright)
    lips = cv2.dilate(opening.astype(np.uint8), np.ones((21, 1))) > opening
    if np.median(hue[shining]) - np.median(hue[lips]) < CONTRAST:
        return np.full(opening.shape[1], np.nan, np.float32)
    middle = (np.median(hue[shining]) + np.median(hue[lips])) / 2
    tooth = smoothstep(hue, middle - CONTRAST / 2, middle + CONTRAST / 2) * smoothstep(green / bright, 0.35, 0.65)
    score = np.cumsum(np.where(opening, tooth - 0.5, 0), 0)
    rows = np.where(score.max(0) > 3, score.argmax(0).astype(np.float32) + 1, np.nan)
    return rows.astype(np.float32)
