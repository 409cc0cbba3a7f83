"""The renderer behind ``--renderer diffusion``: the geometric edit, corrected by a model."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.diffusion.conditions import Canvas, conditions
from instaface.diffusion.interface import Corrects
from instaface.draft import Draft
from instaface.draft.fill import smoothstep
from instaface.draft.texture import greyish
from instaface.face import FaceParameters, MorphableModel
from instaface.track import TrackedFace


def render(
    corrector: Corrects,
    model: MorphableModel,
    face: TrackedFace,
    drawn: Draft,
    edited: FaceParameters,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Corrects a geometric edit.

    The correction is made at the network's size and added to the draft at the photo's own resolution, so that detail
    which the photo has is the photo's.

    Args:
        corrector: the diffusion model.
        model: the face model that is edited.
        face: the face as tracked.
        drawn: its geometric edit.
        edited: the parameters of that edit.
        seed: of the noise.

    Returns:
        (h, w, 3) uint8 over the face's frame; where the edit's mask is 0, the draft as it is.
    """
    canvas = Canvas.of(face, corrector.size)
    given = conditions(face, drawn, edited, model, canvas, corrector.convention)
    levels = canvas.take(corrector(given, face.photo.pixels, face.landmarks, seed) * 127.5)
    levels = worth_it(levels, drawn.opacity)
    if greyish((given.source.transpose(1, 2, 0) + 1) * 127.5):  # a black-and-white photo stays so
        levels = levels.mean(-1, keepdims=True)
    corrected = np.clip(np.rint(drawn.pixels + levels), 0, 255).astype(np.uint8)
    return np.where(drawn.mask[..., None] > 0, corrected, drawn.pixels)


FAINT = 3.0, 7.0  # levels of 255: means of a correction, from nothing that would be missed to all of it
AROUND = 0.008  # of the frame's longer side: deviation of these means


def worth_it(levels: NDArray[np.float32], opacity: NDArray[np.float32]) -> NDArray[np.float32]:
    """The correction without what is faint before the background.

    There it takes away what hair has left. What takes nothing away is only the autoencoder's grain on an even wall.

    Args:
        levels: (h, w, 3) correction in levels of 255.
        opacity: (h, w) 0..1 of what stands before the background; empty where nobody knows it.
    """
    if not opacity.size:
        return levels
    mean = cv2.GaussianBlur(np.abs(levels).max(-1), (0, 0), AROUND * max(opacity.shape))
    share = np.maximum(opacity, smoothstep(mean, *FAINT))
    return levels * share[..., None]
