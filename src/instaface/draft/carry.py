"""Surfaces of a photo's head, carried into the edited view with the photo's own pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from instaface.draft import kernels
from instaface.draft.fill import smoothstep
from instaface.draft.glasses import CONTACT, place
from instaface.draft.kernels import STILL
from instaface.draft.lids import at_rest
from instaface.draft.relight import bounded, framed, head_shadow, light_change, shading, surface_ratio
from instaface.draft.scene import Scene
from instaface.draft.view import up
from instaface.face import FaceParameters, MorphableModel, rotation_from_angles
from instaface.render.rasterise import Raster, coverage, extend, in_bands, interpolate, rasterise, visible

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


@dataclass(frozen=True)
class Start:
    """The surfaces of a scene as the photo shows them: what all edits of one face share.

    Attributes:
        faces, uv_faces, uv, on_shell: see :class:`Surfaces`.
        values: (V, COLUMNS) float32, those of :class:`Surfaces` that no edit changes; the others are 0.
        normals: (V, 3) float32.
        places: (V, 3) float32 in the photo: x, y, depth.
        lit: (V, 3) float32 shading.
        sizes: (M,) float32 area in the picture of the triangles around each vertex of the mesh.
        rest: (M, 3) vertices of the unturned face.
    """

    faces: NDArray[np.int32]
    uv_faces: NDArray[np.int32]
    uv: Array
    on_shell: NDArray[np.int64]
    values: Array
    normals: Array
    places: Array
    lit: Array
    sizes: Array
    rest: torch.Tensor

    @classmethod
    def of(cls, scene: Scene) -> Start:
        model, shell, light = scene.model, scene.shell, scene.parameters.light
        nv, nf, ns = len(scene.vertices), len(model.faces), len(shell.faces)
        points = np.concatenate([scene.vertices, shell.points])
        normals = np.concatenate([scene.normals, shell.normals])
        places = scene.camera.project(torch.from_numpy(points)).numpy().astype(np.float32)
        values = np.zeros((len(points), kernels.COLUMNS), np.float32)
        values[:, kernels.BEFORE : kernels.BEFORE + 3] = points
        values[:, kernels.FACING] = _facing(points, normals)
        values[:nv, kernels.SOLID], values[nv:, kernels.SOLID] = 1, shell.solid
        values[:nv, kernels.WEIGHT], values[nv:, kernels.WEIGHT] = model.head_weight.numpy(), shell.weights
        values[nv:, kernels.LOOKUP : kernels.LOOKUP + 2] = shell.lookup
        size = scene.texture.colour.shape[0]
        uv = model.uv.numpy() * size
        with torch.no_grad():
            rest = model.vertices(at_rest(scene.parameters))[0]
        return cls(
            faces=np.concatenate([model.faces.numpy(), shell.faces + nv]).astype(np.int32),
            uv_faces=np.concatenate([model.uv_faces.numpy(), np.zeros((ns, 3), np.int64)]).astype(np.int32),
            uv=np.stack([uv[:, 0], size - uv[:, 1]], -1).astype(np.float32),
            on_shell=np.concatenate([np.zeros(nf, np.int64), np.repeat([1, 2], ns // 2)]),
            values=values,
            normals=normals,
            places=places,
            lit=shading(normals, light),
            sizes=_sizes(places, model.faces.numpy(), nv),
            rest=rest,
        )


@dataclass(frozen=True)
class Surfaces:
    """All surfaces of a scene: the face model's mesh, then the shell's front and back.

    Attributes:
        faces: (F, 3) vertex indices.
        uv_faces: (F, 3) indices into ``uv``; 0 for the shell.
        uv: (T, 2) texels.
        on_shell: (F,) 0 mesh, 1 front, 2 back of the shell.
        after: (V, 3) float32 projected into the edited view: x, y, depth.
        moved: (V,) float32 pixels, along x or y, between the photo and the edited view.
        values: (V, COLUMNS) float32, by the names of the columns in ``kernels``:
            BEFORE (3) camera space in the photo,
            FACING (2) cosine between normal and line of sight in the photo and in the edited view,
            RATIO (3) shading in the edited view over shading in the photo, linear RGB,
            PAST 0..1: skin beyond the face model's outline, once the face model itself shows what comes after it,
            STRETCHED 0..1: how far the edit stretches the surface beyond what the photo's pixels bear,
            MOVED as above,
            SOLID 0..1 where the shell is opaque, smooth,
            WEIGHT 0..1, share of the head's turn,
            LOOKUP (2) pixels of the photo where the shell finds hair like its own once it has turned.
        change: 0..1, how far the new light is another one.
    """

    faces: NDArray[np.int32]
    uv_faces: NDArray[np.int32]
    uv: Array
    on_shell: NDArray[np.int64]
    after: Array
    moved: Array
    values: Array
    change: float

    @classmethod
    def pose(cls, scene: Scene, edited: FaceParameters, model: MorphableModel) -> Surfaces:
        with torch.no_grad():
            mesh = model.mesh(edited)
            after, normals = mesh.vertices[0], mesh.normals()[0]
            after = after + torch.from_numpy(scene.raised[:, None] * up(edited))
        start, nv = scene.start, len(scene.vertices)
        turned = _rotations(torch.from_numpy(scene.shell.weights), scene.parameters, edited)
        shell_after = move(scene, edited, model, turned)
        points = np.concatenate([after.numpy(), shell_after.numpy()])
        shell_normals = _times(turned, torch.from_numpy(scene.shell.normals))
        normals = np.concatenate([normals.numpy(), shell_normals.numpy()])
        places = scene.camera.project(torch.from_numpy(points)).numpy().astype(np.float32)
        moved = np.abs(places - start.places)
        moved = np.maximum(moved[:, 0], moved[:, 1])
        values = start.values.copy()
        values[:, kernels.FACING + 1] = _facing(points, normals)
        values[:, kernels.RATIO : kernels.RATIO + 3] = _ratio(scene, edited, model, normals)
        values[nv:, kernels.PAST] = np.tile(_past(scene, values[nv:, kernels.FACING : kernels.FACING + 2]), 2)
        values[:nv, kernels.STRETCHED] = _stretched(scene, places[:nv], after, edited)
        values[:, kernels.MOVED] = moved
        return cls(
            faces=start.faces,
            uv_faces=start.uv_faces,
            uv=start.uv,
            on_shell=start.on_shell,
            after=places,
            moved=moved,
            values=values,
            change=light_change(scene.parameters.light, edited.light),
        )


def _past(scene: Scene, facing: Array) -> Array:
    """(N,) see the column PAST, from (2 N, 2) cosines of the shell's slope before and after."""
    turn = (facing[:, 1] - facing[:, 0])[: len(scene.shell.rim)]
    turn = cv2.GaussianBlur(turn.reshape(scene.shell.shape), (0, 0), 3).reshape(-1)
    return (scene.shell.rim * smoothstep(turn, 0.05, 0.15)).astype(np.float32)


STRETCH = 2.5, 5.0  # growth of a triangle's area in the picture, from well borne to not at all
CLOSING = 0.1, 0.5  # share of its way to closed over which a lid loses the photo's lashes


def _stretched(scene: Scene, places: Array, after: torch.Tensor, edited: FaceParameters) -> Array:
    """(V,) 0 where triangles keep about their size in the picture, 1 where they grow many times, as closing lids."""
    sizes = _sizes(places, scene.model.faces.numpy(), len(places))
    growth = (sizes + 1e-3) / (scene.start.sizes + 1e-3)
    unposed = (after - edited.translation[0]) @ rotation_from_angles(edited.head[0])
    closing = scene.lids.hidden * smoothstep(scene.lids.closing(unposed.numpy()), *CLOSING)
    return np.maximum(smoothstep(growth, *STRETCH), closing).astype(np.float32)


def _sizes(places: Array, faces: NDArray[np.int64], count: int) -> Array:
    """(V,) area in the picture of the triangles around each vertex, 0 for what faces away."""
    a, b, c = (places[faces[:, k], :2] for k in range(3))
    twice: Array = (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) - (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])
    return np.bincount(faces.reshape(-1), np.repeat(np.maximum(twice, 0) / 2, 3), count).astype(np.float32)


def _facing(points: Array, normals: Array) -> Array:
    """(N,) cosines between normals and lines of sight."""
    along, far = (np.einsum("nc,nc->n", points, other) for other in (normals, points))
    return -along / np.sqrt(far)


def move(scene: Scene, edited: FaceParameters, model: MorphableModel, turned: torch.Tensor) -> torch.Tensor:
    """(N, 3) points of the shell in the edited view: they turn as the face model's skinning turns its vertices, and
    what borders on the face goes along with its expression. ``turned`` are their (N, 3, 3) rotations."""
    shell = scene.shell
    local = torch.from_numpy(shell.points) - scene.parameters.translation[0]
    w = torch.from_numpy(shell.weights)
    with torch.no_grad():
        change = model.vertices(at_rest(edited))[0] - scene.start.rest
    if change.abs().max() > 1e-4:
        pull = change.numpy()[shell.anchor] * shell.follow[:, None]
        pull = cv2.GaussianBlur(pull.reshape(*shell.shape, 3), (0, 0), 1.5).reshape(-1, 3)
        pull = torch.from_numpy(np.tile(pull, (2, 1)))
        local = local + _times(_skinning(w, scene.parameters), pull)
    return _times(turned, local) + edited.translation[0]


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """(N, 3) products of (N, 3, 3) and (N, 3); torch's own takes several times as long for small matrices."""
    return (matrices * vectors[:, None]).sum(-1)


def _skinning(weights: torch.Tensor, parameters: FaceParameters) -> torch.Tensor:
    w = weights[:, None, None]
    return w * rotation_from_angles(parameters.head[0]) + (1 - w) * rotation_from_angles(parameters.body[0])


LEVELS = 256  # steps of a skinning weight


def _rotations(weights: torch.Tensor, before: FaceParameters, after: FaceParameters) -> torch.Tensor:
    """(N, 3, 3) from the photo to the edited view for points that follow the head by their weight."""
    steps = torch.linspace(0, 1, LEVELS + 1)
    table = _skinning(steps, after) @ torch.linalg.inv(_skinning(steps, before))
    return table[(weights * LEVELS).round().long()]


def _ratio(scene: Scene, edited: FaceParameters, model: MorphableModel, normals: Array) -> Array:
    """(V, 3) shading in the edited view, with ``normals`` there, over shading in the photo."""
    nv, start, light = len(scene.vertices), scene.start, edited.light
    if light.equal(scene.parameters.light):
        mesh = shading(normals[:nv], light) / start.lit[:nv]
    else:
        mesh = shading(normals[:nv], light, head_shadow(model, edited)) / scene.shadowed
    shell = shading(normals[nv:], light) / start.lit[nv:]
    if scene.grey:
        mesh, shell = (np.repeat(part.mean(-1, keepdims=True), 3, -1) for part in (mesh, shell))
    return surface_ratio(framed(model, mesh), shell, scene.shell.anchor, scene.shell.follow, scene.shell.shape)


def carry(
    scene: Scene,
    surfaces: Surfaces,
    selected: NDArray[np.int64],
    before: Array | None = None,
    trusted: Array | None = None,
) -> Layer:
    """Draws some of the surfaces in the edited view with the photo's own pixels.

    Args:
        scene: the photo taken apart.
        surfaces: all surfaces.
        selected: (n,) triangles to draw.
        before: (H, W) float32 depth of the face, which hides what lies farther; None hides nothing.
        trusted: (H, W) float32 0..1 where the photo shows these parts of the face model for certain; elsewhere its
            pixels are only used where they stay in their place. None trusts all.
    """
    if not len(selected):
        return Layer.nothing()
    height, width = scene.depth.shape
    # 1. What each pixel sees.
    faces = surfaces.faces[selected]
    window = _window(surfaces.after, faces, height, width)
    after = surfaces.after - np.array([window[1].start, window[0].start, 0], np.float32)
    size = (window[0].stop - window[0].start, window[1].stop - window[1].start)
    raster, cover = rasterise(after, faces, *size), coverage(after, faces, *size)
    raster = extend(raster, cover)
    # 2. Where that was in the photo.
    values = interpolate(raster, faces, surfaces.values)
    source = _located(scene, raster, values, window)
    place = np.ascontiguousarray(source[..., :2])
    at = place - 0.5
    kind = surfaces.on_shell[selected[0]]
    sharp = cv2.INTER_LINEAR if kind == 2 else cv2.INTER_CUBIC  # of the shell's back only the opacity counts
    photo = cv2.remap(scene.head, at, None, sharp, borderMode=cv2.BORDER_REPLICATE)
    masks = cv2.remap(scene.masks if kind else scene.skin_masks, at, None, cv2.INTER_LINEAR)
    change = float(surfaces.change)
    marks = cv2.remap(scene.marks, at, None, cv2.INTER_LINEAR) if change else np.empty((0, 0, 3), np.float32)
    # 3. What is seen of it there, and what stands in for the rest: the unwrapped texture, or hair from farther inside.
    colour, ratio, flat = (np.empty(shape, np.float32) for shape in ((*size, 3), (*size, 3), (4, *size)))
    seen, results = (raster.face_index, cover, values, photo, masks), (marks, change, colour, ratio, flat)
    if kind:
        found = np.ascontiguousarray(values[..., kernels.LOOKUP : kernels.LOOKUP + 2]) - 0.5
        strands = cv2.remap(scene.head, found, None, cv2.INTER_LINEAR)
        in_bands(kernels.shell_rows, size[0], None, bool(kind == 1), *seen, strands, *results)
    else:
        uv = interpolate(raster, surfaces.uv_faces[selected], surfaces.uv) - 0.5
        texture = cv2.remap(scene.texture.stacked, uv, None, cv2.INTER_LINEAR)
        shown = visible(source, scene.depth)
        around = cv2.dilate(shown.astype(np.float32), np.ones((3, 3)))
        sure = np.empty((0, 0), np.float32) if trusted is None else cv2.remap(trusted, at, None, cv2.INTER_LINEAR)
        in_bands(kernels.skin_rows, size[0], None, *seen, texture, shown, around, sure, *results)
    alpha, seen_share, still, over = flat
    if before is not None:
        over *= raster.depth < before[window] + SHELL_TOLERANCE
    return Layer(window, colour, alpha, seen_share, still, ratio, raster.depth, over, place)


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
    after, start = (scene.camera.project(torch.from_numpy(p)).numpy() for p in (moved, points))
    way = np.abs(after - start)[:, :2].max(-1)
    window = _window(after, sheet.faces, *before.shape)
    after = after - np.array([window[1].start, window[0].start, 0], np.float32)
    height, width = before[window].shape
    raster = rasterise(after, sheet.faces, height, width)
    ratio = bounded(shading(n1, edited.light) / shading(n0, scene.parameters.light))
    values = np.concatenate([points, _facing(points, n0)[:, None], ratio, way[:, None]], -1)
    attributes = interpolate(raster, sheet.faces, values.astype(np.float32))
    facing, ratio = attributes[..., 3], attributes[..., 4:7]
    source = _located(scene, raster, attributes, window)
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


SHELL_TOLERANCE = 0.5  # centimetres by which hair may lie behind the skin that it covered in the photo


def _window(after: Array, faces: NDArray[np.integer], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that the triangles can reach."""
    points = after[np.unique(faces), :2]
    (x0, y0), (x1, y1) = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    top, left = np.clip([y0, x0], 0, [height - 1, width - 1])
    bottom, right = np.clip([y1, x1], [top + 1, left + 1], [height, width])
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _located(scene: Scene, raster: Raster, values: Array, window: tuple[slice, slice]) -> Array:
    """(H, W, 3) x, y and depth in the photo of what each pixel shows; its own place where it shows nothing.

    Args:
        scene: the photo taken apart.
        raster: of the window.
        values: (H, W, C) of which the first three are places in the photo's camera space.
        window: rows and columns of the canvas.
    """
    source = np.empty((*raster.face_index.shape, 3), np.float32)
    camera, corner = scene.camera, (window[0].start, window[1].start)
    in_bands(
        kernels.locate_rows, len(source), None, *corner, camera.focal, *camera.center, raster.face_index, values, source
    )
    return source
