"""The surfaces of a photo's head: the face model's mesh and the shell around it, posed for an edited view."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft import kernels
from instaface.draft.fill import smoothstep
from instaface.draft.lids import at_rest
from instaface.draft.nostrils import nostrils
from instaface.draft.points import project_points, sizes_around, turn_points
from instaface.draft.relight import framed, head_shadow, light_change, shading, surface_ratio
from instaface.draft.scene import Scene
from instaface.draft.view import Parts, up
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles
from instaface.render.rasterise import in_bands

Array = NDArray[np.float32]

MESH, FRONT, BACK = 0, 1, 2  # what a patch is part of


@dataclass(frozen=True)
class Patch:
    """Triangles that are drawn together.

    Attributes:
        kind: ``MESH``, or the shell's ``FRONT`` or ``BACK``.
        points: (n,) int64, those of the surfaces' points that the triangles have as corners.
        faces: (F, 3) int32 indices into ``points``.
        uv_faces: (F, 3) int32 indices into :attr:`Start.uv`; (0, 3) for the shell.
    """

    kind: int
    points: NDArray[np.int64]
    faces: NDArray[np.int32]
    uv_faces: NDArray[np.int32]

    @classmethod
    def of(cls, kind: int, faces: NDArray[np.int64], uv_faces: NDArray[np.int64] | None = None) -> Patch:
        """Of (F, 3) indices of the surfaces' points."""
        points, corners = np.unique(faces, return_inverse=True)
        texels = np.empty((0, 3), np.int32) if uv_faces is None else uv_faces.astype(np.int32)
        return cls(kind, points, corners.reshape(faces.shape).astype(np.int32), texels)


@dataclass(frozen=True)
class Start:
    """The surfaces of a scene as the photo shows them: what all edits of one face share.

    Attributes:
        patches: by name: "scalp", "neck", "skin", "eyes", "mouth" of the mesh; "front", "back" of the shell.
        uv: (T, 2) float32 texels of the mesh.
        values: (V, COLUMNS) float32, those of :class:`Surfaces` that no edit changes; the others are 0.
        local: (N, 3) float32 points of the shell about the neck joint.
        to_face: (N, 3) float32 from them to where skin beside the face would be as deep as that.
        step: (N,) int64 which of ``LEVELS`` steps of the head's turn they follow.
        places: (V, 3) float32 in the photo: x, y, depth.
        lit: (V, 3) float32 shading.
        sizes: (M,) float32 area in the picture of the triangles around each vertex of the mesh.
        rest: (M, 3) vertices of the unturned face.
    """

    patches: dict[str, Patch]
    uv: Array
    values: Array
    local: Array
    to_face: Array
    step: NDArray[np.int64]
    places: Array
    lit: Array
    sizes: Array
    rest: Array

    @classmethod
    def of(cls, scene: Scene) -> Start:
        model, shell, before = scene.model, scene.shell, scene.parameters
        points, normals = (
            np.concatenate(parts) for parts in ((scene.vertices, shell.points), (scene.normals, shell.normals))
        )
        nv = len(scene.vertices)
        places, facing, _ = seen(scene.camera, points, normals)
        values = np.zeros((len(points), kernels.COLUMNS), np.float32)
        values[:, kernels.BEFORE : kernels.BEFORE + 3], values[:, kernels.FACING] = points, facing
        values[:nv, kernels.SOLID], values[nv:, kernels.SOLID] = 1, shell.solid
        values[:nv, kernels.WEIGHT], values[nv:, kernels.WEIGHT] = np.asarray(model.head_weight), shell.weights
        values[nv:, kernels.LOOKUP : kernels.LOOKUP + 2] = shell.lookup
        uv, size = np.asarray(model.uv), scene.texture.colour.shape[0]
        rest = np.asarray(model.vertices(at_rest(before))[0])
        return cls(
            patches=_patches(scene),
            uv=np.stack([uv[:, 0], 1 - uv[:, 1]], -1).astype(np.float32) * size,
            values=values,
            local=shell.points - np.asarray(before.translation[0]),
            to_face=(shell.points * (shell.nearer[:, None] - 1)).astype(np.float32),
            step=np.rint(shell.weights * LEVELS).astype(np.int64),
            places=places,
            lit=shading(normals, before.light),
            sizes=_sizes(places[:nv], model),
            rest=rest,
        )


def _patches(scene: Scene) -> dict[str, Patch]:
    model, parts = scene.model, Parts.of(scene.model)
    chosen = {
        "scalp": parts.scalp,
        "neck": parts.neck,
        "skin": parts.face & ~scene.hidden & ~parts.inside & ~parts.eyes,
        "eyes": parts.eyes,
        "mouth": parts.inside & ~scene.hidden,
    }
    faces, uv_faces = np.asarray(model.faces), np.asarray(model.uv_faces)
    patches = {name: Patch.of(MESH, faces[mask], uv_faces[mask]) for name, mask in chosen.items()}
    front, back = np.split(len(scene.vertices) + scene.shell.faces, 2)
    return patches | {"front": Patch.of(FRONT, front), "back": Patch.of(BACK, back)}


@dataclass(frozen=True)
class Surfaces:
    """All surfaces of a scene in an edited view: points of the face model's mesh, then of the shell's front and back.

    Attributes:
        after: (V, 3) float32 projected into the edited view: x, y, depth.
        values: (V, COLUMNS) float32, by the names of the columns in ``kernels``:
            BEFORE (3) camera space in the photo,
            FACING (2) cosine between normal and line of sight in the photo and in the edited view,
            RATIO (3) shading in the edited view over shading in the photo, linear RGB,
            PAST 0..1: skin beyond the face model's outline, once the face model itself shows what comes after it,
            STRETCHED 0..1: how far the edit stretches the surface beyond what the photo's pixels bear,
            MOVED pixels, along x or y, between the photo and the edited view,
            SOLID 0..1 where the shell is opaque, smooth,
            WEIGHT 0..1, share of the head's turn,
            LOOKUP (2) pixels of the scene's strands where the shell finds its hair once it has turned,
            HAIR 0..1 where it is hair.
        change: 0..1, how far the new light is another one.
        moves: whether anything moves; new light alone moves nothing.
    """

    after: Array
    values: Array
    change: float
    moves: bool

    @classmethod
    def pose(cls, scene: Scene, edited: FaceParameters, model: MorphableModel) -> Surfaces:
        start, nv = scene.start, len(scene.vertices)
        points, normals = (np.empty_like(start.places) for _ in range(2))
        mesh = model.mesh(edited)
        points[:nv] = np.asarray(mesh.vertices[0]) + scene.raised[:, None] * up(edited)
        normals[:nv] = np.asarray(mesh.normals()[0])
        raised = _raised(scene.parameters, edited)
        _turn_shell(scene, edited, model, raised, points[nv:], normals[nv:])
        places, facing, moved = seen(scene.camera, points, normals, start.places)
        values = start.values.copy()
        values[:, kernels.FACING + 1], values[:, kernels.MOVED] = facing, moved
        values[:, kernels.RATIO : kernels.RATIO + 3] = _ratio(scene, edited, model, normals)
        values[nv:, kernels.PAST] = np.tile(_past(scene, raised, values[nv:, kernels.FACING : kernels.FACING + 2]), 2)
        hair, uncovered = scene.shell.hairy, scene.shell.hairy_raised
        values[nv:, kernels.HAIR] = hair + raised * (uncovered - hair)
        values[:nv, kernels.STRETCHED] = _stretched(scene, places[:nv], points[:nv], edited)
        moves = bool(moved.max() > kernels.STILL[0])
        return cls(places, values, light_change(scene.parameters.light, edited.light), moves)


def seen(camera: Camera, points: Array, normals: Array, before: Array | None = None) -> tuple[Array, Array, Array]:
    """What a camera sees of points.

    Args:
        camera: the camera.
        points: (V, 3) float32 camera space.
        normals: (V, 3) float32 unit normals.
        before: (V, 3) float32 where the points were seen, by default where they are.

    Returns:
        (V, 3) float32 x, y and depth; (V,) cosines between normals and lines of sight; (V,) pixels of way along x or y.
    """
    places = np.empty_like(points)
    facing, moved = np.empty((2, len(points)), np.float32)
    before = places if before is None else before
    view = camera.focal, *camera.center
    in_bands(project_points, len(points), None, points, normals, *view, before, places, facing, moved)
    return places, facing, moved


RAISED = 0.4, 0.7  # share of raising the head, of all that it turns, from that of a turn to the side on


def _raised(before: FaceParameters, edited: FaceParameters) -> float:
    """0..1, whether a head is raised rather than turned to the side."""
    yaw, pitch, _ = np.asarray(edited.head[0]) - np.asarray(before.head[0])
    return float(smoothstep(pitch / (abs(yaw) + abs(pitch) + 1e-3), *RAISED))


def _past(scene: Scene, raised: float, facing: Array) -> Array:
    """(N,) see the column PAST, from (2 N, 2) cosines of the shell's slope before and after.

    What comes after it is the side of the head: a raised one shows none, and beside its jaw skin has to go on.
    """
    turn = (facing[:, 1] - facing[:, 0])[: len(scene.shell.rim)]
    turn = cv2.GaussianBlur(turn.reshape(scene.shell.shape), (0, 0), 3).reshape(-1)
    return (scene.shell.rim * smoothstep(turn, 0.03, 0.08) * (1 - raised)).astype(np.float32)


STRETCH = 2.5, 5.0  # growth of a triangle's area in the picture, from well borne to not at all
OPENED = 1.2, 1.8  # the same of the nostrils, of whose walls the photo shows next to nothing
SMALL = 0.3  # of the usual area: below it nobody can say whether a triangle of theirs grows
CLOSING = 0.1, 0.5  # share of its way to closed over which a lid loses the photo's lashes


def _stretched(scene: Scene, places: Array, after: Array, edited: FaceParameters) -> Array:
    """(V,) 0 where triangles keep about their size in the picture, 1 where they grow many times, as closing lids do, or
    where more comes to be seen of the nostrils."""
    sizes, before = _sizes(places, scene.model), scene.start.sizes
    growth = (sizes + 1e-3) / (before + 1e-3)
    unposed = (after - np.asarray(edited.translation[0])) @ np.asarray(rotation_from_angles(edited.head[0]))
    closing = scene.lids.hidden * smoothstep(scene.lids.closing(unposed), *CLOSING)
    small = SMALL * float(np.median(before[before > 0]))
    opened = nostrils(scene.model) * smoothstep((sizes + small) / (before + small), *OPENED)
    return np.maximum.reduce([smoothstep(growth, *STRETCH), closing, opened]).astype(np.float32)


def _sizes(places: Array, model: MorphableModel) -> Array:
    """(V,) area in the picture of the triangles around each vertex of the mesh, 0 for what faces away."""
    sizes = np.zeros(len(places), np.float32)
    sizes_around(places, np.asarray(model.faces), sizes)
    return sizes


LEVELS = 256  # steps of a skinning weight


def _turn_shell(
    scene: Scene, edited: FaceParameters, model: MorphableModel, raised: float, points: Array, normals: Array
) -> None:
    """Fills (N, 3) points and normals of the shell in the edited view: they turn as the face model's skinning turns
    its vertices, and what borders on the face goes along with its expression. Skin right beside the face rises with it,
    as deep as that; a head that turns to the side leaves it behind, since there its own side comes round.
    """
    start, shell = scene.start, scene.shell
    local = start.local + raised * start.to_face
    before, after = (_skinning(parameters) for parameters in (scene.parameters, edited))
    tables = after @ np.linalg.inv(before), _pull(scene, edited, model), before
    given = local, shell.normals, start.step
    in_bands(turn_points, len(points), None, *given, *tables, np.asarray(edited.translation[0]), points, normals)


def _skinning(parameters: FaceParameters) -> Array:
    """(LEVELS + 1, 3, 3) matrices of points that follow the head not at all to wholly."""
    w = np.linspace(0, 1, LEVELS + 1, dtype=np.float32)[:, None, None]
    head, body = (np.asarray(rotation_from_angles(angles[0])) for angles in (parameters.head, parameters.body))
    return w * head + (1 - w) * body


def _pull(scene: Scene, edited: FaceParameters, model: MorphableModel) -> Array:
    """(n, 3) way that the face's expression pulls the shell's front and back, in the unturned head."""
    shell, before = scene.shell, scene.parameters
    if all(np.array_equal(getattr(edited, name), getattr(before, name)) for name in ("expression", "gaze", "jaw")):
        return np.zeros((len(shell.anchor), 3), np.float32)
    change = np.asarray(model.vertices(at_rest(edited))[0]) - scene.start.rest
    pull = change[shell.anchor] * shell.follow[:, None]
    return cv2.GaussianBlur(pull.reshape(*shell.shape, 3), (0, 0), 1.5).reshape(-1, 3)


def _ratio(scene: Scene, edited: FaceParameters, model: MorphableModel, normals: Array) -> Array:
    """(V, 3) shading in the edited view, with ``normals`` there, over shading in the photo."""
    start, shell, nv = scene.start, scene.shell, len(scene.vertices)
    if np.array_equal(edited.light, scene.parameters.light):
        ratio = shading(normals, edited.light) / start.lit
    else:
        ratio = shading(normals, edited.light, _shadow(scene, edited)) / scene.shadowed
    if scene.grey:
        ratio[:] = ratio.mean(-1, keepdims=True)
    log = np.log(ratio)
    log[:nv] = framed(model, log[:nv])
    return surface_ratio(log, shell.anchor, shell.follow, shell.shape)


def shadowed(scene: Scene) -> Array:
    """(V, 3) shading of the surfaces as the photo shows them, with the shadow that the head casts on itself."""
    normals = np.concatenate([scene.normals, scene.shell.normals])
    return shading(normals, scene.parameters.light, _shadow(scene, scene.parameters))


def _shadow(scene: Scene, parameters: FaceParameters) -> Array:
    """(V, 1) share of the light that the head lets through to each point; the shell has no shadow."""
    shadow = np.ones((len(scene.vertices) + len(scene.shell.points), 1), np.float32)
    shadow[: len(scene.vertices)] = head_shadow(scene.model, parameters)
    return shadow
