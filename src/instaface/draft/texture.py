"""The face's skin unwrapped from the photo, with what the camera never saw filled in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import push_pull, reflect, smoothstep
from instaface.face import MorphableModel
from instaface.render.rasterise import interpolate, rasterise

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIZE = 512  # texels a side of the unwrapped texture


@dataclass(frozen=True)
class Texture:
    """Unwrapped colours of one face.

    Attributes:
        colour: (S, S, 3) float32, 0..255 in the photo's light; seen, mirrored or filled.
        mirrored: (S, S) float32 0..1, share of each texel that comes from the face's other half.
    """

    colour: Array
    mirrored: Array

    @cached_property
    def stacked(self) -> Array:
        """(S, S, 4) float32: ``colour`` and ``mirrored``, to be looked up together."""
        return np.dstack([self.colour, self.mirrored])


@dataclass(frozen=True)
class Back:
    """The back of a head, of which a photo tells by what is beside it.

    Attributes:
        share: (S, S) float32 0..1, texels that belong to it.
        strands: (S, S, 3) float32 0..255, the colour of its hair.
        hairy: 0..1, whether there is hair.
    """

    share: Array
    strands: Array
    hairy: float


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
    uv = np.asarray(model.uv) * size
    uv = np.stack([uv[:, 0], size - uv[:, 1], np.ones(len(uv), np.float32)], -1).astype(np.float32)
    raster = rasterise(uv, np.asarray(model.uv_faces), size, size)
    return interpolate(raster, np.asarray(model.faces), points), raster.covered, np.maximum(raster.face_index, 0)


def complete(
    colour: Array,
    seen: Array,
    haired: Array,
    skin: Mask,
    shading: Array,
    groups: list[Mask],
    bald: Array,
    back: Back | None = None,
) -> Texture:
    """Fills a texture from the face's other half where that was seen, else smoothly, with the grain of the skin seen.

    Skin and hair are filled apart, so that neither runs into the other; which of them a texel shows is continued from
    the texels around it, in an ear or the scalp from that part alone.

    Args:
        colour: (S, S, 3) float32 unwrapped colours.
        seen: (S, S) float32 0..1, trust in each texel as skin.
        haired: (S, S) float32 0..1, texels that hair covers in the photo. They take the hair's colour: an ear under
            hair shall not come out from under it.
        skin: (S, S) texels whose island is mirror symmetric (u to 1 - u).
        shading: (S, S, 3) float32 factor by which the photo's light scales a texel's colour: what is
            filled in takes the light of its own place.
        groups: (S, S) texels of each part that is hairy or bare by itself.
        bald: (S, S) float32 0..1, where no hair grows, such as the lids.
        back: what is known of the back of the head.
    """
    even, haired = colour / shading, haired * (1 - bald)
    other_seen = np.where(skin, seen[:, ::-1], 0.0).astype(np.float32)
    other = even[:, ::-1] * _gain(even, np.minimum(seen, other_seen))
    hair_near, skin_near = (cv2.GaussianBlur(m, (0, 0), SIZE / 40) for m in (haired, seen))
    bare = 1 - smoothstep(hair_near / (hair_near + skin_near + 0.05), 0.2, 0.5)
    unknown = 1 - smoothstep(hair_near + skin_near, 0.02, 0.1)
    rest = (1 - seen - haired).clip(0, 1)
    share, hair_share = rest * other_seen * bare, rest * np.where(skin, haired[:, ::-1], 0) * unknown
    # 1. Skin: seen, mirrored, continued; what is continued gets the grain that the rest has.
    weight = seen + share
    mixed = (even * seen[..., None] + other * share[..., None]) / np.maximum(weight, 1e-6)[..., None]
    weight = weight.clip(0, 1).astype(np.float32)
    filled = push_pull(mixed.astype(np.float32), weight)
    filled += (1 - weight[..., None]) * _grain(even, seen > 0.95)
    # 2. Hair.
    hair_weight = (haired + hair_share).astype(np.float32)
    mixed = colour * haired[..., None] + colour[:, ::-1] * hair_share[..., None]
    strands = push_pull(mixed / np.maximum(hair_weight, 1e-6)[..., None], hair_weight.clip(0, 1))
    if back is not None:
        strands += back.share[..., None] * (_no_brighter(back.strands, strands) - strands)
    # 3. Which of both.
    hairy = _continued_class(haired + hair_share, seen + share, groups)
    if back is not None:
        hairy += back.share * (back.hairy - hairy)
    hairy = ((1 - bald) * hairy)[..., None]
    final = filled * shading
    final += hairy * (strands - final)
    return Texture(np.clip(final, 0, 255), (share * other_seen).astype(np.float32))


def _no_brighter(colour: Array, than: Array) -> Array:
    """(S, S, 3) colours darkened to the brightness of others where it is lower: what shines at the edge of a head, as
    bald ones do, does not shine all around it."""
    bright, allowed = (cv2.GaussianBlur(values.mean(-1), (0, 0), SIZE / 60) for values in (colour, than))
    return colour * np.minimum(1, (allowed + 5) / (bright + 5))[..., None]


def _continued_class(hair: Array, skin: Array, groups: list[Mask]) -> Array:
    """(S, S) float32 0..1: where there is hair, continued from the texels that show one or the other."""
    total = hair + skin
    share = (hair / np.maximum(total, 1e-6)).astype(np.float32)
    known = total.clip(0, 1).astype(np.float32)
    out = push_pull(share, known)
    for group in groups:
        inside = known * group
        if inside.sum() > GROUP_SEEN * group.sum():
            out = np.where(group, push_pull(share, inside), out)
    return smoothstep(out, 0.35, 0.65).astype(np.float32)


GROUP_SEEN = 0.03  # share of a part's texels from which on it is judged by itself
GRAIN = 2.5  # texels: standard deviation of the blur that skin's grain stands out from


def _grain(colour: Array, known: Mask) -> Array:
    """(S, S, 3) fine detail of what is known, reflected at its border; brows and lashes are cut to the skin's range."""
    if known.sum() < 100:
        return np.zeros_like(colour)
    weight = known.astype(np.float32)
    stacked = cv2.GaussianBlur(np.dstack([colour * weight[..., None], weight]), (0, 0), GRAIN)
    detail = colour - stacked[..., :3] / np.maximum(stacked[..., 3:], 1e-3)
    most = 2 * np.median(np.abs(detail[known]), 0) / 0.6745
    detail = detail.clip(-most, most) * weight[..., None]
    reflected, trust = reflect(detail, known, smooth=4)
    return reflected * smoothstep(trust, 0, 0.3)[..., None]


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
GAIN = 1.5  # in brightness, at most, from one half of the face to the other
TINT = 1.1, 1.5  # in a channel beside that: where it gets darker, which may be make-up, and from shadow into light


def _gain(colour: Array, both: Array) -> Array:
    """(S, S, 3) factor from the other half's colours to this one's: light differs from side to side.

    It is their quotient where both were seen, and goes on from there as a membrane would (seamless cloning,
    Perez et al. 2003), so that no border shows where mirrored skin begins.

    Args:
        colour: (S, S, 3) float32.
        both: (S, S) float32 0..1, trust in a texel and its mirror image; its own mirror image.
    """
    stack, size = np.dstack([colour * both[..., None], both]), colour.shape[0] // COARSE
    small = cv2.GaussianBlur(cv2.resize(stack, (size, size), interpolation=cv2.INTER_AREA), (0, 0), EVEN)
    own, weight = small[..., :3] + FAINT * small[..., 3:] + 1e-3, small[..., 3]
    ratio = np.log(own / own[:, ::-1])
    grey = ratio.mean(-1, keepdims=True)
    brightness = grey.clip(-np.log(GAIN), np.log(GAIN))
    least, most = np.log(TINT)
    tint = least + (most - least) * np.maximum(brightness, 0) / np.log(GAIN)
    ratio = brightness + (ratio - grey).clip(-tint, tint)
    ratio = push_pull(ratio.astype(np.float32), smoothstep(weight, 0.05, 0.5))
    return np.exp(cv2.resize(ratio, both.shape[::-1], interpolation=cv2.INTER_LINEAR))


FAINT = 4.0  # of 255: how far colours may be apart that are as good as the same
EVEN = 1.5  # cells of the coarse grid over which the halves are compared
COARSE = 4  # texels: what is smooth is found on a grid as coarse


GREYISH = 2.0  # of 255: the mean distance of a photo's channels from their mean, below which it is black and white


def greyish(colour: Array) -> bool:
    """Whether (..., 3) colours 0..255 are those of a black-and-white photo."""
    return bool(colour.size and np.abs(colour - colour.mean(-1, keepdims=True)).mean() < GREYISH)
