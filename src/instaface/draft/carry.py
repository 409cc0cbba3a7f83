"""Surfaces of a photo's head, carried into the edited view with the photo's own pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft import kernels
from instaface.draft.fill import box, smoothstep
from instaface.draft.glasses import CONTACT, place
from instaface.draft.kernels import STILL
from instaface.draft.relight import bounded, shading
from instaface.draft.scene import Scene
from instaface.draft.sheet import on_head
from instaface.draft.surfaces import BACK, FRONT, MESH, Patch, Surfaces, seen
from instaface.face import FaceParameters
from instaface.render.rasterise import Raster, draw, in_bands, interpolate, rasterise, visible

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """One layer in the edited view, over a window of the canvas.

    Attributes:
        window: rows and columns of the canvas.
        colour: (H, W, 3) float32 0..255, in the photo's light.
        alpha: (H, W) float32 opacity 0..1.
        coverage: (H, W) float32, 1 seen, 0.5 mirrored, 0 invented.
        still: (H, W) float32 0..1, 1 where the layer shows what the photo shows at this very pixel.
        ratio: (H, W, 3) float32 new over old shading, linear RGB; (0, 0, 3) where the light stays.
        depth: (H, W) float32 centimetres along the optical axis, infinite where the layer is empty.
        over: (H, W) float32 0..1, the share of the opacity that a layer keeps where it is drawn over the face.
        source: (H, W, 2) float32 pixels, where in the photo that is from; None where the whole layer stays.
    """

    window: tuple[slice, slice]
    colour: Array
    alpha: Array
    coverage: Array
    still: Array
    ratio: Array
    depth: Array
    over: Array
    source: Array | None = None

    @property
    def static(self) -> bool:
        """Whether the layer stays where it is."""
        return self.source is None

    @classmethod
    def nothing(cls) -> Layer:
        """A layer that shows nothing."""
        flat, colour = np.zeros((1, 1), np.float32), np.zeros((1, 1, 3), np.float32)
        return cls(
            (slice(0, 1), slice(0, 1)), colour, flat, flat, flat, colour + 1, flat + np.inf, flat, colour[..., :2]
        )


def carry(
    scene: Scene, surfaces: Surfaces, patch: Patch, before: Array | None = None, trusted: Array | None = None
) -> Layer:
    """Draws some of the surfaces in the edited view with the photo's own pixels.

    Args:
        scene: the photo taken apart.
        surfaces: all surfaces.
        patch: the triangles to draw.
        before: (H, W) float32 depth of the face, which hides what lies farther; None hides nothing.
        trusted: (H, W) float32 0..1 where the photo shows these parts of the face model for certain; elsewhere its
            pixels are only used where they stay in their place, and never where it is below 0. None trusts all.
    """
    if not len(patch.faces):
        return Layer.nothing()
    # 1. What each pixel sees.
    after = surfaces.after[patch.points]
    window = _window(after, *scene.depth.shape)
    after -= np.array([window[1].start, window[0].start, 0], np.float32)
    size = (window[0].stop - window[0].start, window[1].stop - window[1].start)
    raster, cover = draw(after, patch.faces, *size)
    drawn = _drawn(raster.covered & (cover > 0))
    if not drawn.size:
        return Layer.nothing()
    pixels = _chosen(raster, drawn)
    # 2. Where that was in the photo.
    values = interpolate(pixels, patch.faces, surfaces.values[patch.points])
    source = _located(scene, drawn, values, window)
    at = source[..., :2] - 0.5
    sharp = cv2.INTER_LINEAR if patch.kind == BACK else cv2.INTER_CUBIC  # of the shell's back only the opacity counts
    photo = cv2.remap(scene.head, at, None, sharp, borderMode=cv2.BORDER_REPLICATE)
    masks = cv2.remap(scene.skin_masks if patch.kind == MESH else scene.masks, at, None, cv2.INTER_LINEAR)
    change = float(surfaces.change)
    marks = cv2.remap(scene.marks, at, None, cv2.INTER_LINEAR) if change else np.empty((0, 0, 3), np.float32)
    # 3. What is seen of it there, and what stands in for the rest: the unwrapped texture, or hair from farther inside.
    colour, ratio = np.zeros((cover.size, 3), np.float32), np.ones((cover.size, 3), np.float32)
    flat = np.zeros((4, cover.size), np.float32)
    flat[2:] = 1
    shows, results = (drawn, cover.reshape(-1)[drawn], values, photo, masks), (marks, change, colour, ratio, flat)
    if patch.kind == MESH:
        uv = interpolate(pixels, patch.uv_faces, scene.start.uv) - 0.5
        texture = cv2.remap(scene.texture.stacked, uv, None, cv2.INTER_LINEAR)
        shown = visible(source, scene.depth)
        around = np.isinf(scene.depth[window]).view(np.uint8)
        around.reshape(-1)[drawn] = shown
        around = cv2.dilate(around, np.ones((3, 3))).reshape(-1)[drawn]
        sure = np.empty((0, 0), np.float32) if trusted is None else cv2.remap(trusted, at, None, cv2.INTER_LINEAR)
        in_bands(kernels.skin_rows, len(drawn), None, *shows, texture, shown, around, sure, *results)
    else:
        found = values[..., kernels.LOOKUP : kernels.LOOKUP + 2] - 0.5
        strands = cv2.remap(scene.strands, found, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        in_bands(kernels.shell_rows, len(drawn), None, patch.kind == FRONT, *shows, strands, *results)
    # 4. As pictures over the window. As long as nothing moves, the photo shows all that there is to be seen.
    alpha, seen_share, still, over = flat.reshape(4, *size)
    if not surfaces.moves:
        still[:] = 1
    if patch.kind == MESH:
        soften_edges(colour.reshape(*size, 3), raster.depth, still, scene.camera.focal)
    if before is not None:
        in_front = np.minimum(before[window], FARTHEST) - raster.depth
        over *= smoothstep(in_front, -SHELL_TOLERANCE, 0)
    place = scene.positions[window].copy()
    place.reshape(-1, 2)[drawn] = source[..., :2]
    if surfaces.moves and patch.kind == MESH:  # of hair it would cost as much again
        picture = colour.reshape(*size, 3)
        in_bands(kernels.prefilter_rows, size[0], None, place, alpha > 0, still, picture.copy(), picture)
    pictures = (part.reshape(*size, 3) for part in (colour, ratio))
    return Layer(window, next(pictures), alpha, seen_share, still, next(pictures), raster.depth, over, place)


EDGE = 2.5  # pixels in depth from one pixel to the next, from which on a surface ends before another one
SLOPE = 0.65  # share of that step by which the surface changes on the other side of the pixel: more is a steep surface
SOFTNESS = 0.8  # pixels


def soften_edges(colour: Array, depth: Array, still: Array, focal: float) -> None:
    """Softens the edges of what has moved before other parts of the same surface, such as nostrils and closed lids.

    Outlines are anti-aliased, but there each pixel shows the one or the other.

    Args:
        colour: (H, W, 3) float32, changed in place.
        depth: (H, W) float32, infinite where nothing is drawn.
        still: (H, W) float32, 1 where nothing has moved: there the photo's own edges are soft already.
        focal: focal length in pixels.
    """
    drawn = np.isfinite(depth)
    known = np.where(drawn, depth, 0).astype(np.float32)
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        step = np.abs(np.diff(known, axis=axis))
        before, after = (_padded(step, axis, *ends) for ends in ((1, 0), (0, 1)))
        high, low = np.maximum(before, after), np.minimum(before, after)
        edge |= (high * focal > EDGE * known) & (low < SLOPE * high) & (high < 0.5 * known)
    edge &= drawn & (still < 0.5)
    if edge.any():
        around = box(edge, 0.02)
        inner, edge = colour[around], edge[around]
        inner[edge] = cv2.GaussianBlur(inner, (0, 0), SOFTNESS)[edge]


def _padded(steps: Array, axis: int, first: int, last: int) -> Array:
    """Differences along an axis, the outermost repeated."""
    return np.pad(steps, [(first, last) if k == axis else (0, 0) for k in (0, 1)], "edge")


LINE = 256  # pixels in a row of what is worked on at once


def _drawn(shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, LINE) indices of the pixels that show something; the last one fills up the last row."""
    drawn = np.flatnonzero(shown)
    return np.pad(drawn, (0, -len(drawn) % LINE), "edge").reshape(-1, LINE) if len(drawn) else drawn


def _chosen(raster: Raster, pixels: NDArray[np.int64]) -> Raster:
    """Some pixels of a raster, in their order."""
    triangles, weights, depth = raster.face_index, raster.barycentric, raster.depth
    return Raster(triangles.reshape(-1)[pixels], weights.reshape(-1, 3)[pixels], depth.reshape(-1)[pixels])


def carry_glasses(scene: Scene, edited: FaceParameters, before: Array) -> Layer:
    """Draws the glasses in the edited view; nothing where the face wears none.

    Args:
        scene: the photo taken apart.
        edited: the edited face, batch of 1.
        before: (H, W) float32 depth of the face, which hides what lies farther.
    """
    sheet = scene.glasses
    if sheet is None:
        return Layer.nothing()
    (points, n0), (moved, n1) = place(sheet, scene.parameters), place(sheet, edited)
    start, facing, _ = seen(scene.camera, points, n0)
    after, _, way = seen(scene.camera, moved, n1, start)
    ratio = bounded(np.log(shading(n1, edited.light) / shading(n0, scene.parameters.light)))
    values = np.concatenate([points, facing[:, None], ratio, way[:, None]], -1).astype(np.float32)
    window, raster, attributes, source = _spread_out(scene, after, sheet.faces, values)
    facing, ratio = attributes[..., 3], attributes[..., 4:7]
    picture = cv2.remap(
        sheet.picture, source[..., 0] - 0.5, source[..., 1] - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT
    )
    shows = raster.covered & (raster.depth < before[window] + CONTACT)
    alpha = picture[..., 3].clip(0, 1) * shows * smoothstep(facing, 0.02, 0.08)
    whole = np.ones_like(alpha)
    still = 1 - smoothstep(attributes[..., 7], *STILL)
    return Layer(
        window, picture[..., :3].clip(0, 255), alpha, whole, still, ratio, raster.depth, whole, source[..., :2]
    )


def carry_teeth(scene: Scene, edited: FaceParameters) -> Layer:
    """Draws the upper teeth that the photo shows in the edited view, unlit; nothing where it shows none."""
    row = scene.row
    if row is None:
        return Layer.nothing()
    points, moved = (on_head(row.rest, parameters) for parameters in (scene.parameters, edited))
    start, _, _ = seen(scene.camera, points, points)
    after, _, way = seen(scene.camera, moved, moved, start)
    values = np.concatenate([points, row.texels, way[:, None]], -1)
    window, raster, values, source = _spread_out(scene, after, row.faces, values)
    at = np.ascontiguousarray(values[..., 3:5])
    picture, known = (cv2.remap(image, at, None, cv2.INTER_LINEAR) for image in (row.picture, row.seen))
    alpha, whole = picture[..., 3] * raster.covered, np.ones_like(known)
    still = 1 - smoothstep(values[..., 5], *STILL)
    unlit = np.ones_like(picture[..., :3])
    return Layer(
        window, picture[..., :3].clip(0, 255), alpha, known, still, unlit, raster.depth, whole, source[..., :2]
    )


def _spread_out(
    scene: Scene, after: Array, faces: NDArray[np.int64], values: Array
) -> tuple[tuple[slice, slice], Raster, Array, Array]:
    """A rigid sheet over a window of the canvas: window, raster, and per pixel its values and its place in the photo.

    Args:
        scene: the photo taken apart.
        after: (N, 3) float32 the sheet's points projected into the edited view.
        faces: (F, 3) its triangles.
        values: (N, C) float32, of which the first three are the points' places in the photo's camera space.
    """
    window = _window(after, *scene.depth.shape)
    height, width = scene.depth[window].shape
    raster = rasterise(after - np.array([window[1].start, window[0].start, 0], np.float32), faces, height, width)
    attributes = interpolate(raster, faces, values)
    source = _located(scene, np.arange(height * width).reshape(height, width), attributes, window)
    return window, raster, attributes, source


FARTHEST = 1e6  # centimetres
SHELL_TOLERANCE = 0.5  # centimetres by which hair may lie behind the skin that it covered in the photo


def _window(points: Array, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that triangles between (n, 3) projected points can reach."""
    (x0, x1), (y0, y1) = ((floor(axis.min()), ceil(axis.max())) for axis in points[:, :2].T)
    top, left = np.clip([y0, x0], 0, [height - 1, width - 1])
    bottom, right = np.clip([y1, x1], [top + 1, left + 1], [height, width])
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _located(scene: Scene, pixels: NDArray[np.int64], values: Array, window: tuple[slice, slice]) -> Array:
    """(h, w, 3) x, y and depth in the photo of what pixels show.

    Args:
        scene: the photo taken apart.
        pixels: (h, w) indices of the window's pixels.
        values: (h, w, C) of which the first three are places in the photo's camera space.
        window: rows and columns of the canvas.
    """
    source, (rows, columns) = np.empty((*pixels.shape, 3), np.float32), window
    view = columns.start, rows.start, columns.stop - columns.start, scene.camera.focal, *scene.camera.center
    in_bands(kernels.locate_rows, len(source), None, *view, pixels, values, source)
    return source
