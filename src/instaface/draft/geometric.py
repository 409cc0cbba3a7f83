"""The geometric edit: the photo's layers, carried into the edited view and put together again."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.apart import take_apart
from instaface.draft.carry import Layer, carry, carry_glasses
from instaface.draft.compose import Draft, compose
from instaface.draft.fill import box, push_pull, smoothstep
from instaface.draft.kernels import MOVED, STILL
from instaface.draft.occluder import put_before
from instaface.draft.openings import carry_face
from instaface.draft.relight import continued
from instaface.draft.resolution import at_own_resolution
from instaface.draft.scene import Scene
from instaface.draft.surfaces import Surfaces
from instaface.face import FaceParameters, MorphableModel
from instaface.track import TrackedFace

Array = NDArray[np.float32]


def draft(face: TrackedFace, edited: FaceParameters, model: MorphableModel, scene: Scene | None = None) -> Draft:
    """Edits a photo by geometry alone: its pixels are carried through the 3D face into the edited view.

    Args:
        face: the tracked face.
        edited: what it shall be, batch of 1.
        model: the face model that both belong to.
        scene: the photo taken apart by :func:`take_apart`, for the second and further edits of one face.
    """
    # 1. Take the photo apart and pose the surfaces.
    work = face.working
    scene = scene or take_apart(face, model)
    surfaces = Surfaces.pose(scene, edited, model)
    # 2. Carry each layer into the edited view.
    patches = scene.start.patches
    scalp = carry(scene, surfaces, patches["scalp"])
    behind = carry(scene, surfaces, patches["back"])
    neck = carry(scene, surfaces, patches["neck"])
    head = _without_holes(carry_face(scene, surfaces, edited))
    hair = carry(scene, surfaces, patches["front"], before=_spread([neck, head], scene.depth.shape))
    glasses = carry_glasses(scene, edited, before=_spread([head], scene.depth.shape))
    same_light = np.array_equal(edited.light, scene.parameters.light)
    relit = None if same_light else _continued_light([neck, head], scene.depth.shape)
    if relit is not None:
        end_softly(neck, relit)
    gone = _gone(scene, surfaces)
    # Necks twist more than they move: where the face model's neck leaves, skin remains. Clothes lie before it; what
    # goes on of them behind the head lies behind all of that.
    body, throat, clothes = (_static(scene, part, gone, relit) for part in ("body", "throat", "clothes"))
    # 3. Put them together, from the farthest to the nearest.
    over = replace(hair, alpha=hair.alpha * hair.over)
    layers = [scalp, behind, body, hair, throat, neck, clothes, head, over]
    drawn = compose(scene, layers, glasses, gone, [scalp, head], outlined=[neck, head])
    if scene.before.any():
        drawn = put_before(scene, drawn, relit)
    # 4. Large and small photos get their own resolution back.
    return drawn if work is face else at_own_resolution(drawn, work, face)


AROUND = 0.1  # of the layer's longer side: what lies as close to a hole counts when it is filled


def _without_holes(layer: Layer) -> Layer:
    """The layer, its enclosed holes closed in place, such as an ear's canal; what is drawn but transparent is none."""
    empty = (layer.alpha < 0.5) & np.isinf(layer.depth)
    _, labels = cv2.connectedComponents(empty.astype(np.uint8), connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    hole = empty & ~np.isin(labels, border)
    if not hole.any():
        return layer
    hole = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3))) > 0
    around = box(hole, AROUND)
    inner, known = hole[around], (~hole & ~empty)[around].astype(np.float32)
    depth = np.where(known > 0, layer.depth[around], 0)
    stacked = np.dstack([layer.colour[around], layer.ratio[around], depth])
    filled = push_pull(stacked.astype(np.float32), known)[inner]
    for part, values in ((layer.colour, filled[:, :3]), (layer.ratio, filled[:, 3:6]), (layer.depth, filled[:, 6])):
        part[around][inner] = values
    layer.alpha[hole], layer.coverage[hole], layer.still[hole] = 1, 0, 0
    return layer


def _spread(layers: list[Layer], shape: tuple[int, ...]) -> Array:
    """(H, W) depth of the nearest of some layers over the whole canvas."""
    depth = np.full(shape, np.inf, np.float32)
    for layer in layers:
        # A pixel that an outline only touches has the depth of the one beside it: else what is behind would be drawn
        # before the half of it that it shows.
        beside = cv2.erode(layer.depth, np.ones((3, 3)))
        own = np.where(layer.alpha > 0, np.where(np.isfinite(layer.depth), layer.depth, beside), np.inf)
        depth[layer.window] = np.minimum(depth[layer.window], own)
    return depth


def _gone(scene: Scene, surfaces: Surfaces) -> Array:
    """(H, W) float32 0..1: where the photo shows the head, or strands around it, that have moved away.

    The shell lies all over the photo: what it does at a pixel is what hair at that pixel does.
    """
    h, w = scene.shell.shape
    first = len(scene.vertices)
    way = surfaces.values[first : first + h * w, MOVED].reshape(h, w)
    grid = np.array([[1, 0, 0.5], [0, 1, 0.5]], np.float32) / scene.shell.step
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(way, grid, scene.depth.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return (smoothstep(moved, *STILL) * scene.near).astype(np.float32)


def _static(scene: Scene, part: str, gone: Array, ratio: Array | None) -> Layer:
    """A layer that stays with the shoulders. New light goes on from the face, over neck and clothes."""
    colour, opacity, coverage = scene.standing[part]
    return Layer(
        window=(slice(0, opacity.shape[0]), slice(0, opacity.shape[1])),
        colour=colour,
        alpha=opacity,
        coverage=coverage,
        still=1 - gone,
        ratio=np.empty((0, 0, 3), np.float32) if ratio is None else ratio,
        depth=np.broadcast_to(np.float32(0), opacity.shape),
        over=np.broadcast_to(np.float32(1), opacity.shape),
    )


ENDS = 0.01  # of the canvas' longer side: over which a part's own light goes over into that of what it borders on


def end_softly(layer: Layer, around: Array) -> None:
    """The layer's new light goes over into the (H, W, 3) light ``around`` where the layer ends; in place."""
    solid = (layer.alpha > 0.99).astype(np.float32)
    within = cv2.GaussianBlur(solid, (0, 0), ENDS * max(around.shape))
    outer = around[layer.window]
    layer.ratio[:] = outer + smoothstep(within, 0.5, 0.9)[..., None] * (layer.ratio - outer)


def _continued_light(lit: list[Layer], shape: tuple[int, ...]) -> Array:
    """(H, W, 3) ratio of new to old light, continued smoothly from where layers know it."""
    log, known = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    for layer in lit:
        solid = (layer.alpha > 0.99).view(np.uint8)
        cv2.copyTo(np.log(layer.ratio), solid, log[layer.window])
        cv2.copyTo(solid.astype(np.float32), solid, known[layer.window])
    return continued(log, known)
