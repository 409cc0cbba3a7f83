"""The geometric edit: the photo's layers, carried into the edited view and put together again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.carry import Layer, Surfaces, carry, relight
from instaface.draft.fill import push_pull
from instaface.draft.scene import Parts, Scene, take_apart
from instaface.face import FaceParameters, MorphableModel
from instaface.track import TrackedFace

Array = NDArray[np.float32]

GREY = 127.5  # what was never seen, in the appearance map


@dataclass(frozen=True)
class Draft:
    """A geometric edit of a frame of H x W pixels.

    Attributes:
        pixels: (H, W, 3) uint8, complete.
        appearance: (H, W, 3) uint8, the same with mid-grey wherever the photo says nothing.
        coverage: (H, W) float32: 1 seen in the photo, 0.5 mirrored from the other half, 0 invented.
        mask: (H, W) float32 0..1, 0 where the photo's own pixels stay.
    """

    pixels: NDArray[np.uint8]
    appearance: NDArray[np.uint8]
    coverage: Array
    mask: Array


def draft(face: TrackedFace, edited: FaceParameters, model: MorphableModel, scene: Scene | None = None) -> Draft:
    """Edits a photo by geometry alone: its pixels are carried through the 3D face into the edited view.

    Args:
        face: the tracked face.
        edited: what it shall be, batch of 1.
        model: the face model that both belong to.
        scene: the photo taken apart by :func:`take_apart`, for the second and further edits of one face.
    """
    # 1. Take the photo apart and pose the surfaces.
    scene = scene or take_apart(face, model)
    surfaces = Surfaces.pose(scene, edited, model)
    # 2. Carry each layer into the edited view.
    parts, n = Parts.of(model), len(model.faces)
    mesh, shell = np.arange(n), n + np.arange(len(scene.shell.faces))
    front, back = np.split(shell, 2)
    behind = carry(scene, surfaces, np.concatenate([mesh[parts.scalp], back]))
    neck = carry(scene, surfaces, mesh[parts.neck])
    head = carry(scene, surfaces, mesh[parts.face])
    hair = carry(scene, surfaces, front, before=_spread(head, scene.depth.shape))
    relit = None if edited.light.equal(scene.parameters.light) else _continued_light([neck, head], scene.depth.shape)
    body = _static(scene, scene.body[..., :3], scene.body[..., 3], relit)
    # Necks twist more than they move: where the face model's neck leaves, skin remains.
    throat = _static(scene, scene.photo, scene.throat, relit)
    # 3. Put them together, from the farthest to the nearest.
    return compose(scene, [behind, hair, throat, neck, body, head, replace(hair, alpha=hair.alpha * hair.over)])


def _spread(layer: Layer, shape: tuple[int, ...]) -> Array:
    """(H, W) depth of a layer over the whole canvas."""
    depth = np.full(shape, np.inf, np.float32)
    depth[layer.window] = np.where(layer.alpha > 0.5, layer.depth, np.inf)
    return depth


def _static(scene: Scene, colour: Array, opacity: Array, ratio: Array | None) -> Layer:
    """A layer that stays with the shoulders. New light goes on from the face, over neck and clothes."""
    still = np.full_like(opacity, ratio is None)
    if ratio is None:
        ratio = np.ones_like(colour)
    everything = (slice(0, opacity.shape[0]), slice(0, opacity.shape[1]))
    coverage = ((opacity > 0) * scene.inside).astype(np.float32)
    depth, over = np.zeros_like(opacity), np.ones_like(opacity)
    return Layer(everything, relight(colour, ratio), opacity, coverage, still, ratio, depth, over)


def _continued_light(lit: list[Layer], shape: tuple[int, ...]) -> Array:
    """(H, W, 3) ratio of new to old light, continued smoothly from where layers know it."""
    ratio, known = np.ones((*shape, 3), np.float32), np.zeros(shape, np.float32)
    for layer in lit:
        solid = layer.alpha > 0.99
        ratio[layer.window][solid] = layer.ratio[solid]
        known[layer.window][solid] = 1
    return cv2.GaussianBlur(push_pull(ratio, known), (0, 0), 0.02 * max(shape)).clip(0.25, 4)


def compose(scene: Scene, layers: list[Layer]) -> Draft:
    """Puts layers, from the farthest to the nearest, over the background."""
    background = (scene.head[..., 3] + scene.body[..., 3] < 0.02) & (scene.inside > 0)
    colour, appearance = scene.plate.copy(), np.where(background[..., None], scene.plate, GREY).astype(np.float32)
    seen = background.astype(np.float32)
    for layer in layers:
        w, a = layer.window, layer.alpha[..., None]
        known = (layer.coverage > 0.45)[..., None]
        colour[w] += a * (layer.colour - colour[w])
        appearance[w] += a * (np.where(known, layer.colour, GREY) - appearance[w])
        seen[w] += layer.alpha * (layer.coverage - seen[w])
    still = _still(scene, layers)
    # Around what moved, the photo may hold stray hairs that the matte missed: the plate does not.
    moved = cv2.dilate((~still).astype(np.uint8), np.ones((scene.reach, scene.reach))) > 0
    mask = np.where(background, moved, ~still).astype(np.float32)
    final = np.where(mask[..., None] > 0, colour, scene.photo)
    left, top, right, bottom = scene.margins
    height, width = mask.shape
    window = (slice(top, height - bottom), slice(left, width - right))
    return Draft(_to_bytes(final[window]), _to_bytes(appearance[window]), seen[window].clip(0, 1), mask[window])


VISIBLE = 0.02  # opacity from which a layer counts


def _still(scene: Scene, layers: list[Layer]) -> NDArray[np.bool_]:
    """(H, W) pixels where nothing that is visible has moved, and nothing that was has gone."""
    through = np.ones_like(scene.inside)
    moving, kept = np.zeros(through.shape, bool), np.zeros(through.shape, bool)
    for layer in reversed(layers):
        w = layer.window
        shows = layer.alpha * through[w] > VISIBLE
        moving[w] |= shows & (layer.still < 0.5)
        kept[w] |= shows & (layer.still > 0.5)
        through[w] *= 1 - layer.alpha
    return ~moving & (kept | (scene.head[..., 3] < VISIBLE))


def _to_bytes(values: Array) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
