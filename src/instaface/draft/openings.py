"""What is seen through the openings of the face: eyes and the mouth's inside, under the soft edge of the skin."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft import kernels
from instaface.draft.carry import Layer, carry, carry_teeth
from instaface.draft.fill import smoothstep
from instaface.draft.kernels import STILL
from instaface.draft.relight import relight
from instaface.draft.scene import Scene
from instaface.draft.surfaces import Surfaces
from instaface.face import FaceParameters

Array = NDArray[np.float32]
Window = tuple[slice, slice]

FRONT, DEEP = 0.8, 4.0  # centimetres behind the lips from which a point counts as near, and as deep
LIP_SHADOW = 0.12  # centimetres around the lips' edge that they shade on the teeth right behind them
CAVITY = 0.9  # centimetres of the opening whose light reaches a point in the depth
LASHES = 0.1  # centimetres of an eye's opening below which the lashes leave it in the dark
DEPTH_LOSS = 0.6  # share of that light that is lost on the way
DARKEST = 0.03  # share of the light that reaches every point
REDDENING = np.array([0.9, 1.1, 1.1], np.float32)  # powers of the light in red, green, blue: it comes off red walls


def carry_face(scene: Scene, surfaces: Surfaces, edited: FaceParameters) -> Layer:
    """The face's skin, with eyes and mouth under it.

    Args:
        scene: the photo taken apart.
        surfaces: all surfaces.
        edited: the edited face, batch of 1.
    """
    patches, lips = scene.start.patches, scene.model.regions.get("lips", ())
    skin = carry(scene, surfaces, patches["skin"])
    eyes = carry(scene, surfaces, patches["eyes"], trusted=scene.open)
    skin = before(eyes, skin)
    face = over(skin, between_the_lids(eyes, skin, scene.camera.focal))
    if not (len(patches["mouth"].faces) and len(lips)):
        return face
    # As long as nothing moves lips and tongue, the photo shows what is to be seen there.
    moving = [*lips, *scene.model.regions.get("tongue", ())]
    moves = surfaces.values[moving, kernels.MOVED].max() > STILL[0]
    mouth = carry(scene, surfaces, patches["mouth"], trusted=scene.behind_teeth if moves else scene.open)
    mouth = within(carry_teeth(scene, edited), mouth)
    if not moves:
        mouth.still[:] = 1
    face, skin = before(mouth, face), before(mouth, skin)
    return over(face, in_the_dark(mouth, skin, surfaces.after[lips], scene.camera.focal))


THROUGH = 1.0  # centimetres behind what fills an opening, from which on skin would be seen through it


def before(filling: Layer, skin: Layer) -> Layer:
    """``skin`` without what lies behind an opening's ``filling``, such as the far ear behind an eye."""
    f, s = _shared(filling, skin)
    alpha = skin.alpha.copy()
    alpha[s] *= (filling.alpha[f] < 0.5) | (skin.depth[s] < filling.depth[f] + THROUGH)
    return replace(skin, alpha=alpha)


def within(front: Layer, back: Layer) -> Layer:
    """``back``, with ``front`` before it, in the light that ``back`` has; what lies outside of its window is lost."""
    f, b = _shared(front, back)
    changed = ("colour", "coverage", "alpha", "still", *CHOSEN)
    out = replace(back, **{name: getattr(back, name).copy() for name in changed})
    share = front.alpha[f]
    out.alpha[b] += (1 - out.alpha[b]) * share
    for name in ("colour", "coverage"):
        own = getattr(out, name)[b]
        own += (share[..., None] if own.ndim == 3 else share) * (getattr(front, name)[f] - own)
    # A soft edge over what is new is new itself.
    mixed = np.minimum(front.still[f], np.where(share < 0.98, back.still[b], 1))
    chosen = share > 0.5
    out.still[b][chosen] = mixed[chosen]
    for name in CHOSEN:
        getattr(out, name)[b][chosen] = getattr(front, name)[f][chosen]
    return out


def over(front: Layer, back: Layer) -> Layer:
    """``front``, with ``back`` where it lets something through; what of ``back`` lies outside of its window is lost."""
    f, b = _shared(front, back)
    out = replace(front, **{name: getattr(front, name).copy() for name in (*MIXED, *CHOSEN, "alpha", "still")})
    behind = (1 - front.alpha[f]) * back.alpha[b]
    out.alpha[f] += behind
    share = behind / np.maximum(out.alpha[f], 1e-6)
    for name in MIXED:
        own = getattr(out, name)[f]
        own += (share[..., None] if own.ndim == 3 else share) * (getattr(back, name)[b] - own)
    # Under an edge that has not moved, what was hidden stays hidden unless it moves itself, or is new right beside it.
    new = cv2.dilate(((share >= 0.98) & (back.still[b] < 0.5)).astype(np.uint8), np.ones((3, 3)))
    beneath = np.maximum(back.still[b], front.still[f] * (share < 0.98) * (new == 0) * _in_place(back)[b])
    out.still[f] = np.where(share > 0.02, beneath, 1) * np.where(share < 0.98, front.still[f], 1)
    chosen = share > 0.5
    for name in CHOSEN:
        getattr(out, name)[f][chosen] = getattr(back, name)[b][chosen]
    return out


MIXED = ("colour", "coverage", "ratio")
CHOSEN = ("depth", "source")


def _in_place(layer: Layer) -> NDArray[np.bool_]:
    """(H, W) whether what a layer shows has not moved, be it seen in the photo or not."""
    rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) + 0.5 for part in layer.window)
    own = np.stack(np.meshgrid(columns, rows), -1)
    return np.abs(layer.source - own).max(-1) < STILL[0]


def _shared(a: Layer, b: Layer) -> tuple[Window, Window]:
    """What two layers' windows share, in the pixels of the one and of the other."""
    pairs = list(zip(a.window, b.window, strict=True))
    ends = [(max(p.start, q.start), max(p.start, q.start, min(p.stop, q.stop))) for p, q in pairs]
    return tuple(  # type: ignore[return-value]
        tuple(slice(e[0] - pair[k].start, e[1] - pair[k].start) for e, pair in zip(ends, pairs, strict=True))
        for k in (0, 1)
    )


def in_the_dark(mouth: Layer, skin: Layer, lips: Array, focal: float) -> Layer:
    """The mouth's inside in the light that comes in between the lips, where it was not seen in the photo.

    A point sees about as much of the opening's surroundings as it lies behind them (ambient occlusion): right behind
    the lips only their edges shade it, in the depth it has light from the whole opening, or as little as that lets in.

    Args:
        mouth: the mouth's inside, as the photo shows it or evenly lit.
        skin: the face's skin, which leaves the mouth open.
        lips: (n, 3) the lips projected: pixels and depth in centimetres.
        focal: of the camera, pixels.
    """
    hole = np.zeros(mouth.alpha.shape, np.float32)
    outline = cv2.convexHull(np.rint(lips[:, :2] - (mouth.window[1].start, mouth.window[0].start)).astype(np.int32))
    cv2.fillConvexPoly(hole, outline, 1)
    alpha = mouth.alpha * hole
    m, s = _shared(mouth, skin)
    hole[m] *= 1 - skin.alpha[s]
    distance = float(np.median(lips[:, 2]))
    shadow, cavity = (size * focal / distance for size in (LIP_SHADOW, CAVITY))
    near, wide = (cv2.GaussianBlur(hole, (0, 0), max(size, 0.5)) for size in (shadow, cavity))
    near = np.minimum(near, _lowered(near, shadow))  # light comes from above: the upper lip shades more
    depth = smoothstep(np.where(np.isfinite(mouth.depth), mouth.depth, 0) - distance, FRONT, DEEP)
    light = (near + depth * ((1 - DEPTH_LOSS) * wide - near)).clip(DARKEST, 1)[..., None] ** REDDENING
    unseen = (1 - mouth.coverage)[..., None]
    smooth = cv2.GaussianBlur(mouth.colour, (0, 0), 0.7)  # teeth without steps at their edges
    return replace(
        mouth, colour=relight(mouth.colour + unseen * (smooth - mouth.colour), 1 - unseen * (1 - light)), alpha=alpha
    )


def between_the_lids(eyes: Layer, skin: Layer, focal: float) -> Layer:
    """The eyes, dark where all but closed lids let no light in."""
    hole = eyes.alpha.copy()
    e, s = _shared(eyes, skin)
    hole[e] *= 1 - skin.alpha[s]
    if not hole.any():
        return eyes
    size = LASHES * focal / float(np.median(eyes.depth[hole > 0]))
    ajar = smoothstep(cv2.GaussianBlur(hole, (0, 0), max(size, 0.7)), 0.05, 0.45)[..., None]
    dark = relight(eyes.colour, np.repeat(DARKEST + (1 - DARKEST) * ajar, 3, -1))
    return replace(eyes, colour=np.where(eyes.still[..., None] > 0.5, eyes.colour, dark))


def _lowered(values: Array, pixels: float) -> Array:
    """(H, W) values moved down."""
    shift = np.array([[1, 0, 0], [0, 1, pixels]])
    return cv2.warpAffine(values, shift, values.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
