"""The layers of an edited view, put together: what is drawn, what stays of the photo, and the head's outline."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft import kernels
from instaface.draft.carry import Layer
from instaface.draft.fill import box, push_pull, smoothstep
from instaface.draft.scene import Scene
from instaface.render.rasterise import in_bands

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

AROUND = 0.1  # of the canvas' longer side: what lies as close to a hole counts when it is filled


@dataclass(frozen=True)
class Draft:
    """A geometric edit of a frame of H x W pixels.

    Attributes:
        pixels: (H, W, 3) uint8, complete.
        appearance: (H, W, 3) uint8, the same with mid-grey wherever the photo says nothing.
        coverage: (H, W) float32: 1 seen in the photo, 0.5 mirrored from the other half, 0 invented.
        mask: (H, W) float32 0..1, 0 where the photo's own pixels stay.
        source: (H, W, 2) float32 x and y in pixels, where in the frame that comes from; its own place where it is
            from nowhere. Empty where the photo is larger than the working resolution.
        opacity: (H, W) float32 0..1 of what stands before the background. Empty where nobody knows it.
    """

    pixels: NDArray[np.uint8]
    appearance: NDArray[np.uint8]
    coverage: Array
    mask: Array
    source: Array = field(default_factory=lambda: np.empty((0, 0, 2), np.float32))
    opacity: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))


def compose(
    scene: Scene, layers: list[Layer], worn: Layer, gone: Array, skin: list[Layer], outlined: list[Layer]
) -> Draft:
    """Puts layers over the background.

    Args:
        scene: the photo taken apart.
        layers: from the farthest to the nearest.
        worn: glasses, before all of them; they have no part in the head's outline.
        gone: (H, W) float32, 1 where the photo shows something that is not there any more.
        skin: those of the layers that stay firm under loose hair, the last of them the face and its ears.
        outlined: those whose outline may run through skin.
    """
    # 1. What is seen where, where that was in the photo, and whether it has moved.
    opacity, source, moved = _overlaid(scene, layers)
    # 2. Loose hair and the softness of the outline go along with the outline.
    holes = _holes(scene, opacity)
    shift, near = follow_outline(scene, (opacity >= 0.5) | holes, source, _invented(skin[-1], layers[-1], holes.shape))
    opacity[holes], moved[holes] = 1, np.maximum(moved, gone)[holes]  # not what the photo shows there
    firm = scene.stays.copy()
    for layer in skin:
        np.maximum(firm[layer.window], layer.alpha, out=firm[layer.window])
    alpha, colour, height = np.empty_like(opacity), np.empty_like(scene.photo), len(opacity)
    loose = scene.head, scene.loose[..., None], firm
    in_bands(kernels.soften_rows, height, None, opacity, near, shift, *loose, gone, alpha, moved, colour)
    if worn.source is not None:
        source[worn.window][worn.alpha > 0.5] = worn.source[worn.alpha > 0.5]
    moved[worn.window] = np.maximum(moved[worn.window], _shows(worn.alpha) * (1 - worn.still))
    # 3. Colours and their new light.
    ratio, seen, known = _painted(layers, colour, opacity, holes)
    _light_loose(ratio, opacity)
    _put_on(worn, alpha, colour, seen, known)
    ratio[worn.window] += worn.alpha[..., None] * (worn.ratio - ratio[worn.window])
    # 4. Over the background; whatever has not moved is the photo itself.
    pixels, appearance = (np.empty(colour.shape, np.uint8) for _ in range(2))
    coverage, mask = (np.empty_like(alpha) for _ in range(2))
    given = scene.plate, scene.photo, colour, alpha, moved, ratio, seen, known, scene.person, scene.inside
    in_bands(kernels.finish_rows, height, None, *given, pixels, appearance, coverage, mask)
    seams = _seams(source, opacity, mask, scene.features, _outlines(outlined, opacity.shape))
    seams[worn.window] &= worn.alpha < kernels.VISIBLE  # its edges are soft
    soften_seams(pixels, seams)
    seams &= coverage >= kernels.KNOWN
    appearance[seams] = pixels[seams]
    w, corner = scene.window, np.array(scene.margins[:2], np.float32)
    return Draft(pixels[w], appearance[w], coverage[w], mask[w], source[w] - corner, alpha[w])


SEAM = 0.008  # of the canvas' longer side: neighbours from so far apart in the photo do not belong to one surface
GAP = 5  # pixels: narrower ones between two surfaces do not show what is behind
SOFTNESS = 0.7  # pixels


def _outlines(layers: list[Layer], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W) 1 where a layer that has moved covers a part of a pixel: what is behind shines through, though the surface
    goes on."""
    out = np.zeros(shape, np.uint8)
    for layer in layers:
        part = (layer.alpha > kernels.VISIBLE) & (layer.alpha < 1 - kernels.VISIBLE)
        out[layer.window] |= (part & (layer.still < 0.5)).view(np.uint8)
    return out


def _seams(source: Array, opacity: Array, mask: Array, features: Mask, outlines: NDArray[np.uint8]) -> Mask:
    """(H, W) pixels of what has moved at which one surface ends before another one.

    Outlines before the background are soft already, and so are lids, lips and nostrils: what comes from the photo's
    ``features``, an (H, W) mask over it, stays as sharp as it is.
    """
    apart = np.empty(opacity.shape, np.uint8)
    in_bands(kernels.apart_rows, len(apart), None, source, SEAM * max(opacity.shape), apart)
    apart |= outlines
    closed = cv2.morphologyEx((opacity > 0.95).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((GAP, GAP)))
    beside = np.ones((3, 3))
    seams = (cv2.dilate(apart, beside) & cv2.erode(closed, beside)).astype(bool) & (mask > 0.5)
    column, row = source[seams].astype(int).T.clip(0, [[features.shape[1] - 1], [features.shape[0] - 1]])
    seams[seams] = ~features[row, column]
    return seams


def soften_seams(pixels: NDArray[np.uint8], seams: Mask) -> None:
    """Anti-aliases the seams, where each pixel shows the one surface or the other and, now and then, a gap between
    them; in place."""
    if not seams.any():
        return
    around = box(seams, 0.02)
    inner, there = pixels[around], seams[around]
    inner[there] = cv2.GaussianBlur(cv2.medianBlur(inner, 3), (0, 0), SOFTNESS)[there]


def _painted(layers: list[Layer], colour: Array, opacity: Array, holes: Mask) -> tuple[Array, Array, Array]:
    """Lays the layers over the (H, W, 3) ``colour`` of loose hair, in place. (H, W, 3) ratio of their new to old light;
    (H, W) their coverage, and 1 where it is known."""
    ratio, seen, known = np.ones_like(colour), np.ones_like(opacity), np.ones_like(opacity)
    for layer in layers:
        corner = layer.window[0].start, layer.window[1].start
        own = layer.colour, layer.alpha, layer.coverage, layer.ratio
        in_bands(kernels.paint_rows, len(layer.alpha), None, *corner, *own, colour, ratio, seen, known)
    if holes.any():
        around = box(holes, AROUND)
        weight = smoothstep(opacity[around], 0.5, 1) * ~holes[around]
        colour[around] = push_pull(colour[around], weight.astype(np.float32))
        seen[holes], known[holes] = 0, 0
    return ratio, seen, known


def _put_on(worn: Layer, alpha: Array, colour: Array, seen: Array, known: Array) -> None:
    """Lays a layer over what is drawn: changes its opacity, colour and coverage in place."""
    w, a = worn.window, worn.alpha
    total = 1 - (1 - a) * (1 - alpha[w])
    share = a / np.maximum(total, 1e-6)
    colour[w] += share[..., None] * (worn.colour - colour[w])
    for part in (seen, known):
        part[w] += share * (worn.coverage - part[w])
    alpha[w] = total


def _shows(alpha: Array) -> Array:
    """0..1, whether something of this opacity is seen."""
    return smoothstep(alpha, kernels.VISIBLE, 4 * kernels.VISIBLE)


def _overlaid(scene: Scene, layers: list[Layer]) -> tuple[Array, Array, Array]:
    """(H, W) opacity of all layers, (H, W, 2) the pixel of the photo that is seen, (H, W) 0..1 what has moved."""
    through, moved = np.ones_like(scene.inside), np.zeros_like(scene.inside)
    source, found = scene.positions.copy(), np.zeros(through.shape, bool)
    for layer in reversed(layers):
        corner, place = (layer.window[0].start, layer.window[1].start), layer.source
        own = layer.alpha, layer.still, np.empty((0, 0, 2), np.float32) if place is None else place
        in_bands(kernels.overlaid_rows, len(layer.alpha), None, *corner, *own, through, moved, source, found)
    return 1 - through, source, moved


def _holes(scene: Scene, opacity: Array) -> Mask:
    """(H, W) gaps in what is drawn: empty, enclosed, and not a view of the background in the photo either; with the
    half transparent edges of what surrounds them."""
    empty = opacity < 0.5
    _, labels, stats, _ = cv2.connectedComponentsWithStats(empty.astype(np.uint8), connectivity=4)
    x, y, w, h, area = stats.T
    enclosed = (x > 0) & (y > 0) & (x + w < empty.shape[1]) & (y + h < empty.shape[0])
    gaps = enclosed[labels] & empty
    person = np.bincount(labels[gaps], scene.person[gaps] > 0.5, len(stats)) > 0.5 * area
    gaps[gaps] = person[labels[gaps]]
    return (cv2.dilate(gaps.astype(np.uint8), np.ones((3, 3))) > 0) & (opacity < 1)


def _invented(face: Layer, over: Layer, shape: tuple[int, ...]) -> Mask:
    """(H, W) skin that the photo does not show, such as a hidden ear, unless hair ``over`` the face covers it."""
    out = np.zeros(shape, bool)
    out[face.window] = (face.alpha > 0.5) & (face.coverage < 0.75)
    out[over.window] &= over.alpha < 0.5
    return out


def follow_outline(scene: Scene, solid: Mask, source: Array, invented: Mask | None = None) -> tuple[Array, Array]:
    """Where around an edited outline the photo's outline is to be looked up.

    A point of the edited outline belongs to the nearest point of the photo's outline, unless it is (nearly) one
    itself or has hardly moved; between and around them the way from one to the other is continued smoothly.

    Args:
        scene: the photo taken apart.
        solid: (H, W) what is drawn.
        source: (H, W, 2) where in the photo that is from.
        invented: (H, W) skin of which the photo shows nothing there: what hides it may be hair.

    Returns:
        (H, W, 2) float32 pixels from each point to that of the photo, and (H, W) float32, 1 close to where hair is
        the edited outline, 0 far from it, and where the outline is skin: what hair the photo has there hangs behind.
    """
    size, near = max(solid.shape), np.zeros(solid.shape, np.float32)
    contour = solid & (cv2.erode(solid.astype(np.uint8), np.ones((3, 3)), borderValue=1) == 0)
    if not contour.any() or not np.isfinite(scene.outline[1]).all():
        return np.zeros_like(source), near
    nearest, distance = scene.outline
    at = source[contour]
    column, row = at.astype(int).T.clip(0, [[solid.shape[1] - 1], [solid.shape[0] - 1]])
    moved = at - scene.positions[contour]
    deep = distance[row, column]
    snaps = smoothstep(deep, 0.004 * size, 0.03 * size) * (2 * np.linalg.norm(moved, axis=-1) / (deep + 1e-6)).clip(
        0, 1
    )
    places = np.argwhere(contour)
    way = moved + snaps[:, None] * (nearest[row, column] - at)
    hair, skin = scene.hair[row, column], scene.bare[row, column]
    if invented is not None:
        hair, skin = np.where(invented[contour], 0, hair), np.where(invented[contour], 1, skin)
    share = (hair + 0.01) / (hair + skin + 0.01)
    # Skin, with its own way, does not divert the hair that it borders on.
    way = np.column_stack([share[:, None] * way, share]).astype(np.float32)
    way = _spread_out(places, way, solid.shape, 0.02 * size)
    shift, share = (_enlarged(part, solid.shape) for part in (way[..., :2] / way[..., 2:], way[..., 2]))
    away = cv2.distanceTransform((~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    in_bands(kernels.near_rows, len(near), None, size, away, solid, share, near)
    return shift, near


def _grid(shape: tuple[int, ...], step: float) -> tuple[int, int]:
    """Columns and rows of a grid over a picture, about ``step`` pixels apart."""
    step = max(1.0, step)
    return max(2, round(shape[1] / step)), max(2, round(shape[0] / step))


def _spread_out(places: NDArray[np.int64], values: Array, shape: tuple[int, ...], sigma: float) -> Array:
    """(h, w, C) the (n, C) ``values`` at (n, 2) rows and columns, averaged over ``sigma`` pixels and continued."""
    columns, rows = _grid(shape, sigma / 1.5)
    cell = (places * (rows, columns) // shape).astype(np.int64) @ (columns, 1)
    stacked = np.concatenate([values, np.ones((len(values), 1), np.float32)], 1)
    total = np.stack([np.bincount(cell, part, rows * columns) for part in stacked.T], -1)
    return _smooth(total.reshape(rows, columns, -1).astype(np.float32), shape, sigma)


def _smooth(total: Array, shape: tuple[int, ...], sigma: float) -> Array:
    """(h, w, C) from (h, w, C + 1) sums of weighted values and of weights over the cells of a coarse grid."""
    step = shape[1] / total.shape[1]
    total = cv2.GaussianBlur(total, (0, 0), sigma / step)
    mean = total[..., :-1] / np.maximum(total[..., -1:], 1e-6)
    return push_pull(mean, (total[..., -1] * 4 * sigma / step**2).clip(0, 1))


def _enlarged(coarse: Array, shape: tuple[int, ...]) -> Array:
    """(H, W, C) from a coarse grid."""
    return cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_LINEAR)


LOOSE_LIGHT = 0.005  # of the canvas' longer side: how far around it what is solid lends its light


def _light_loose(ratio: Array, opacity: Array) -> None:
    """Continues the (H, W, 3) ratio of new to old light of what is solid over the loose hair around it, in place."""
    sigma = LOOSE_LIGHT * max(opacity.shape)
    columns, rows = _grid(opacity.shape, sigma)
    total = np.empty((rows, columns, 4), np.float32)
    in_bands(kernels.sum_rows, rows, None, ratio, smoothstep(opacity, *kernels.SOLIDITY), total)
    around = _enlarged(_smooth(total, opacity.shape, sigma), opacity.shape)
    in_bands(kernels.mix_rows, len(opacity), None, around, opacity, ratio)
