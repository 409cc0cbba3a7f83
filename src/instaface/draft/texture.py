"""The face's skin unwrapped from the photo, with what the camera never saw filled in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import push_pull, smoothstep
from instaface.face import MorphableModel
from instaface.render.rasterise import interpolate, rasterise

Array = NDArray[np.float32]

SIZE = 512  # texels a side of the unwrapped texture


@dataclass(frozen=True)
class Texture:
    """Unwrapped colours of one face.

    Attributes:
        colour: (S, S, 3) float32, 0..255 as in the photo; seen, mirrored or filled.
        mirrored: (S, S) float32 0..1, share of each texel that comes from the face's other half.
    """

    colour: Array
    mirrored: Array

    @cached_property
    def stacked(self) -> Array:
        """(S, S, 4) float32: ``colour`` and ``mirrored``, to be looked up together."""
        return np.dstack([self.colour, self.mirrored])


def unwrap(
    model: MorphableModel, points: Array, size: int = SIZE
) -> tuple[Array, NDArray[np.bool_], NDArray[np.int32]]:
    """Values of the mesh's vertices on its texture.

    Args:
        model: the face model.
        points: (V, C) float32.
        size: S, texels a side.

    Returns:
        (S, S, C) float32 values, (S, S) occupied texels, (S, S) int32 their triangles (0 where there is none).
    """
    uv = model.uv.numpy() * size
    uv = np.stack([uv[:, 0], size - uv[:, 1], np.ones(len(uv), np.float32)], -1).astype(np.float32)
    raster = rasterise(uv, model.uv_faces.numpy(), size, size)
    return interpolate(raster, model.faces.numpy(), points), raster.covered, np.maximum(raster.face_index, 0)


def complete(colour: Array, seen: Array, haired: Array, skin: NDArray[np.bool_]) -> Texture:
    """Fills a texture from the face's other half where that was seen, else smoothly.

    Args:
        colour: (S, S, 3) float32 unwrapped colours.
        seen: (S, S) float32 0..1, trust in each texel.
        haired: (S, S) float32 0..1, texels that hair covers in the photo. They take the hair's colour: an ear under
            hair shall not come out from under it.
        skin: (S, S) texels whose island is mirror symmetric (u to 1 - u).
    """
    other, other_seen = colour[:, ::-1], np.where(skin, seen[:, ::-1], 0.0).astype(np.float32)
    other = other * _gain(colour, other, np.minimum(seen, other_seen))
    hair_near, skin_near = (cv2.GaussianBlur(m, (0, 0), SIZE / 40) for m in (haired, seen))
    bare = 1 - smoothstep(hair_near / (hair_near + skin_near + 0.05), 0.2, 0.5)
    unknown = 1 - smoothstep(hair_near + skin_near, 0.02, 0.1)
    other_known = other_seen * bare + np.where(skin, haired[:, ::-1], 0) * unknown
    share = (1 - seen - haired).clip(0, 1) * other_known
    weight = seen + haired + share
    mixed = (colour * (seen + haired)[..., None] + other * share[..., None]) / np.maximum(weight, 1e-6)[..., None]
    filled = push_pull(mixed.astype(np.float32), weight.clip(0, 1).astype(np.float32))
    return Texture(np.clip(filled, 0, 255), (share * other_seen).astype(np.float32))


def matched(painted: Array, colour: Array, seen: Array) -> Array:
    """Painted colours made like those that were seen, and these themselves where they were.

    Args:
        painted: (S, S, 3) float32 0..255.
        colour: (S, S, 3) float32 0..255 unwrapped colours.
        seen: (S, S) float32 0..1, trust in each of them.
    """
    known = seen > 0.5
    if known.sum() >= ENOUGH:
        bright, plain = (np.quantile(values[known], TYPICAL, axis=0) for values in (colour, painted))
        gain = (bright + 5) / (plain + 5)
        painted = (painted * gain.clip(1 / LIKENESS, LIKENESS)).clip(0, 255)
    soft = (cv2.GaussianBlur(seen, (0, 0), 1.5) * seen)[..., None]
    return (painted + soft * (colour - painted)).astype(np.float32)


ENOUGH = 25  # texels that tell what a part looks like
TYPICAL = 0.65  # quantile that stands for a part's colour: half and a little more, since edges are dark
LIKENESS = 2.0  # at most, from painted to seen brightness
GAIN = 1.5  # at most, from one half of the face to the other


def _gain(colour: Array, other: Array, both: Array) -> Array:
    """(S, S, 1) smooth factor from one half's brightness to the other's: light differs from side to side."""
    grey = np.dstack([colour.mean(-1), other.mean(-1), np.ones_like(both)]) * both[..., None]
    own, others, weight = np.moveaxis(cv2.GaussianBlur(grey, (0, 0), SIZE / 24), -1, 0)
    ratio = np.log((own + 4 * weight + 1e-3) / (others + 4 * weight + 1e-3)).astype(np.float32)
    ratio = push_pull(ratio, (weight > 0.05).astype(np.float32))
    return np.exp(ratio.clip(-np.log(GAIN), np.log(GAIN)))[..., None]
