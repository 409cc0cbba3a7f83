"""Hands, and what they hold, before the face: they belong to the scene, not to the head, and stay where they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import continue_texture, push_pull, smoothstep
from instaface.draft.relight import relight

if TYPE_CHECKING:
    from instaface.draft.compose import Draft
    from instaface.draft.scene import Scene

Array = NDArray[np.float32]

REACH = 0.012  # of the photo's longer side: how far beyond its outline something colours what is behind it


def remove(photo: Array, alpha: Array, *masks: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """What is behind something, as its surroundings go on.

    Args:
        photo: (H, W, 3) float32 0..255.
        alpha: (H, W) float32 0..1, what is to be removed.
        masks: (H, W) float32 0..1 of what else is in the photo.

    Returns:
        (H, W, 3) the photo without it; (H, W) float32 0..1 where that is not known from the photo; the masks.
    """
    reach = 2 * int(REACH * max(alpha.shape)) + 3
    wide = cv2.dilate(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    known = wide < 0.1
    behind = continue_texture(photo, known)
    filled = push_pull(np.dstack(masks), known.astype(np.float32))
    steep = smoothstep(filled, 0.35, 0.65)
    unknown = cv2.GaussianBlur((~known).astype(np.float32), (0, 0), 1)
    out = tuple(np.where(known, mask, steep[..., k]).astype(np.float32) for k, mask in enumerate(masks))
    return behind, unknown, out


def put_before(scene: Scene, draft: Draft, ratio: Array | None) -> Draft:
    """Lays what is before the head over a draft.

    Args:
        scene: the photo taken apart.
        draft: of its frame.
        ratio: (H, W, 3) float32 new to old light over the canvas, linear RGB; None where the light stays.
    """
    photo, behind, alpha = (layer[scene.window] for layer in (scene.photo, scene.without, scene.before))
    a = alpha[..., None]
    own = np.clip((photo - (1 - a) * behind) / np.maximum(a, 0.2), 0, 255)
    own = own if ratio is None else relight(own, ratio[scene.window])
    pixels, appearance = (
        np.clip(np.rint(p + a * (own - p)), 0, 255).astype(np.uint8) for p in (draft.pixels, draft.appearance)
    )
    # Where nothing has changed, nor is it to, the photo itself stays.
    unmoved = draft.mask == 0
    pixels[unmoved], appearance[unmoved] = draft.pixels[unmoved], draft.appearance[unmoved]
    changed = np.abs(pixels.astype(np.float32) - photo).max(-1) > 0.5
    solid = alpha > 0.5
    y, x = np.nonzero(solid)
    source = draft.source.copy()
    source[solid] = np.stack([x, y], -1) + 0.5
    return replace(
        draft,
        pixels=pixels,
        appearance=appearance,
        coverage=np.maximum(draft.coverage, alpha),
        mask=np.where(alpha > 0.99, changed, draft.mask).astype(np.float32),
        source=source,
    )
