"""The face's skin unwrapped from the photo; what the camera never saw of it, eyes and mouth included, is filled in."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import box, smoothstep
from instaface.draft.lids import Lids
from instaface.draft.nostrils import nostrils
from instaface.draft.relight import shading
from instaface.draft.texture import Back, Texture, complete, greyish, matched, unwrap
from instaface.draft.view import Parts, View, without_rim
from instaface.face import FaceParameters, MorphableModel
from instaface.face.colour import srgb_from_linear
from instaface.render.maps import albedo_picture
from instaface.render.rasterise import visible

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


def skin_texture(
    view: View,
    model: MorphableModel,
    parameters: FaceParameters,
    lids: Lids,
    head: Array,
    bare: Array,
    hair: Array,
    strands: Array,
    covered: bool,
) -> Texture:
    """The unwrapped skin; where some of it was ``covered``, what is filled in has brows and lips of its own.

    The back of the head is as the hair before it, or where none is, as ``strands``, the hair continued all around.
    """
    facing = -(view.normals * view.vertices).sum(-1) / np.linalg.norm(view.vertices, axis=-1)
    parts = Parts.of(model)
    light, deepness = _shading(view.normals, parameters), nostrils(model)
    per_vertex = np.column_stack([view.projected, facing, view.normals, lids.hidden, lids.lashes, light, deepness])
    attributes, occupied, face = unwrap(model, per_vertex.astype(np.float32))
    x, y = attributes[..., 0] - 0.5, attributes[..., 1] - 0.5
    colour = cv2.remap(head[..., :3], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    masks = np.dstack([without_rim(bare, view.depth, view.camera.focal), hair, view.open])
    shown, haired, open_ = np.moveaxis(cv2.remap(masks, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), -1, 0)
    lid, lashes, deep = attributes[..., 7], attributes[..., 8:-4], attributes[..., -1]
    within = (parts.inside | parts.eyes)[face]
    faced = occupied * visible(attributes[..., :3], view.depth) * smoothstep(attributes[..., 3], 0.15, 0.45)
    sharp = smoothstep(_density(x, y, occupied), *STRETCH)
    faced = faced * np.where(within, open_, sharp * (1 - _around(lid)) * (1 - deep))
    seen, haired = (shown * faced).astype(np.float32), (haired * faced).astype(np.float32)
    grey = greyish(colour[seen > 0.5])
    shading = np.where(occupied[..., None], attributes[..., -4:-1] * (1 - DARK * deep[..., None]), 1)
    if grey:
        shading[:] = shading.mean(-1, keepdims=True)
    if covered:
        shading = shading * np.where(occupied[..., None], _tint(model, parameters, occupied), 1)
        seen = seen * np.where(occupied & ~within & ~parts.ears[face], _usual(colour / shading, seen), 1)
    neck = (parts.neck & ~parts.scalp)[face] & occupied
    seen = seen * (1 - neck * _cloth(colour / shading, seen * ~neck))
    left = np.arange(occupied.shape[1]) < occupied.shape[1] // 2
    ears, scalp = (part[face] & occupied for part in (parts.ears, parts.scalp))
    groups = [ears & left, ears & ~left, scalp & ~ears]
    back = Back(
        share=_soft(groups[-1]) * (1 - smoothstep(attributes[..., 3], *BACK) * smoothstep(haired + seen, *TOLD)),
        strands=cv2.remap(strands, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        hairy=_hairy(haired[groups[-1]], seen[groups[-1]]),
    )
    texture = complete(colour, seen, haired, occupied & ~within, shading, groups, np.maximum(lid, neck), back)
    # What opens the mouth or turns the eyes shows was rarely seen: the model's own colours, matched to what was seen.
    albedo = cv2.resize(albedo_picture(model, parameters), occupied.shape[::-1])
    mixed = texture.colour * (1 - lid[..., None] * lashes)
    for part in (parts.teeth, parts.inside & ~parts.teeth, parts.irises, parts.eyes & ~parts.irises):
        texels = part[face] & occupied
        if texels.any():
            w = box(texels, 0.02)
            painted = _painted(albedo[w], parameters, attributes[w][..., 4:7], parts.eyes[face[w]])
            if grey:
                painted[:] = painted.mean(-1, keepdims=True)
            own = matched(painted, colour[w], (seen * texels)[w])
            mixed[w] = np.where(texels[w][..., None], own, mixed[w])
    return Texture(mixed.astype(np.float32), texture.mirrored)


BACK = 0.1, 0.3  # cosine between the scalp and the line of sight, from not seen to seen well
TOLD = 0.05, 0.3  # trust in what a texel of the scalp shows, from none to enough: beside ears nothing is seen of it
HAIRY = 0.3, 0.6  # share of hair in what is seen of the scalp, from a bald head to a hairy one


def _hairy(haired: Array, seen: Array) -> float:
    """0..1: whether hair grows at the back of a head, by (n,) trust in the scalp's texels as hair and as skin."""
    return float(smoothstep(haired.sum() / max(float((haired + seen).sum()), 1.0), *HAIRY))


BORDER = 9  # texels over which a part ends softly


def _soft(part: Mask) -> Array:
    """(S, S) 0..1: a part of the face model that ends softly inside of its triangles."""
    inner = cv2.erode(part.astype(np.float32), np.ones((BORDER, BORDER)))
    return np.minimum(part, cv2.GaussianBlur(inner, (0, 0), BORDER / 4))


LASH_TEXELS = 11  # twice the texels around a lid that lashes may cover
EYE_SHADE = 0.45  # share of the light that lids and brows leave the eyes; as measured on portraits


def _tint(model: MorphableModel, parameters: FaceParameters, occupied: Mask) -> Array:
    """(S, S, 3) the face's own colours over its usual one, as a factor of sRGB values."""
    albedo = cv2.resize(albedo_picture(model, parameters), occupied.shape[::-1])
    values = srgb_from_linear(albedo.clip(0.01, 1))
    return (values / np.median(values[occupied], 0)).clip(*SHADED).astype(np.float32)


UNUSUAL = 1.0, 2.0  # mean deviations from the usual skin, from trusted to not: they may be fingers that were missed


def _usual(even: Array, seen: Array) -> Array:
    """(S, S) float32 0..1: colours, evenly lit, that are like most that were seen."""
    known = seen > 0.5
    if not known.any():
        return np.ones_like(seen)
    smooth = cv2.GaussianBlur(even, (0, 0), 2.0)
    away = smooth - np.median(smooth[known], 0)
    spread = np.abs(away[known]).mean(0) + 2
    return 1 - smoothstep((np.abs(away) / spread).mean(-1), *UNUSUAL)


CLOTH = (0.15, 0.3), (0.35, 0.6)  # log ratios of the channels, and brightness over the face's: from skin to dark cloth


def _cloth(even: Array, face: Array) -> Array:
    """(S, S) float32 0..1: dark colours that are not the face's, as collars in shadow that the matte takes for skin."""
    known = face > 0.5
    if not known.any():
        return np.zeros_like(face)
    log = np.log(cv2.GaussianBlur(even, (0, 0), 1.0) + 5)
    tint, brightness = log - log.mean(-1, keepdims=True), log.mean(-1)
    away = np.abs(tint - np.median(tint[known], 0)).max(-1)
    dark = 1 - smoothstep(np.exp(brightness - np.median(brightness[known])), *CLOTH[1])
    return smoothstep(away, *CLOTH[0]) * dark


def _painted(albedo: Array, parameters: FaceParameters, normals: Array, eyes: Mask) -> Array:
    """(H, W, 3) 0..255: the model's own colours in the photo's light, half of which is scattered within the mouth."""
    towards = np.array([[0.0, 0.0, 1.0]], np.float32)
    *direct, frontal = shading(np.concatenate([normals.reshape(-1, 3), towards]), parameters.light)
    light = (frontal + np.reshape(direct, normals.shape)) / 2 * np.where(eyes, EYE_SHADE, 1)[..., None]
    return (255 * srgb_from_linear((albedo * light).clip(0, 1))).astype(np.float32)


def _around(lid: Array) -> Array:
    """(S, S) lids with what borders on them: lashes and their make-up would be smeared over the closed lid."""
    wide = cv2.dilate(np.ascontiguousarray(lid), np.ones((LASH_TEXELS, LASH_TEXELS)))
    return cv2.GaussianBlur(wide, (0, 0), LASH_TEXELS / 6).clip(0, 1)


def _shading(normals: Array, parameters: FaceParameters) -> Array:
    """(V, 3) shading over its value for a surface that faces the camera, as a factor of sRGB values."""
    frontal = np.array([[0.0, 0.0, 1.0]], np.float32)
    lit = shading(np.concatenate([normals, frontal]), parameters.light)
    return ((lit[:-1] / lit[-1]).clip(*SHADED) ** (1 / 2.2)).astype(np.float32)


# Of red, green, blue as sRGB values that is lost deep inside the nostrils.
DARK = np.array([0.65, 0.75, 0.8], np.float32)
SHADED = 0.3, 1.6  # range of shading that the estimated light is believed to reach where the camera saw nothing
STRETCH = 0.06, 0.2  # of the usual number of pixels a texel: what is stretched out of less is not trusted


def _density(x: Array, y: Array, occupied: Mask) -> Array:
    """(S, S) pixels of the photo under a texel, over their median: the lids of open eyes are but a few."""
    area = np.abs(np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1))
    area = cv2.medianBlur(area.astype(np.float32), 5)  # the borders of islands are no gradients
    return area / max(float(np.median(area[occupied])), 1e-9)
