"""The tracked face model as the canvas's camera sees it, and its parts."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.lids import at_rest
from instaface.draft.teeth import raised
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles
from instaface.render.rasterise import Raster, rasterise

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

MISFIT = 0.12  # of the head's width: twice how far the face model's outline may lie inside of the head's
LID_EDGE = 0.2  # centimetres: twice how far the edge of an eye or of the mouth may be off


@dataclass(frozen=True)
class Parts:
    """How the face model's triangles take part in the layers, each an (F,) mask.

    Attributes:
        scalp: under the hair; drawn only where the shell leaves a hole.
        neck: the neck, which lies behind collar and chin.
        shoulders: not drawn: they do not move.
        face: the rest of the head. It shares a ring of triangles with scalp and neck, which lie behind it, so that
            nothing shines through where they meet.
        inside: the mouth's inside.
        teeth: the teeth, a part of ``inside``.
        lips: the lips.
        eyes: the eyeballs and their sockets.
        irises: a part of ``eyes``.
        ears: the ears.
    """

    scalp: Mask
    neck: Mask
    shoulders: Mask
    face: Mask
    inside: Mask
    teeth: Mask
    lips: Mask
    eyes: Mask
    irises: Mask
    ears: Mask

    @classmethod
    @functools.lru_cache(maxsize=2)
    def of(cls, model: MorphableModel) -> Parts:
        """Of a model; the last ones are kept."""
        shoulders = _faces_of(model, "shoulders", touching=True)
        behind = _faces_of(model, "scalp") | _faces_of(model, "neck", "shoulders")
        return cls(
            scalp=_faces_of(model, "scalp", touching=True) & ~shoulders,
            neck=_faces_of(model, "neck", touching=True) & ~shoulders,
            shoulders=shoulders,
            face=~(behind | shoulders),
            inside=_faces_of(model, "mouth", "gums", "teeth", "tongue", touching=True),
            teeth=_faces_of(model, "teeth"),
            lips=_faces_of(model, "lips"),
            eyes=_faces_of(
                model, "eyeball_left", "eyeball_right", "eye_left", "eye_right", "eye_sockets", touching=True
            ),
            irises=_faces_of(model, "iris_left", "iris_right"),
            ears=_faces_of(model, "ears", touching=True),
        )


def _faces_of(model: MorphableModel, *regions: str, touching: bool = False) -> Mask:
    """(F,) triangles whose corners all lie in the regions, or any of them for ``touching``."""
    member = np.zeros(len(model.head_weight), bool)
    for region in regions:
        if region in model.regions:
            member[np.asarray(model.regions[region])] = True
    corners = member[np.asarray(model.faces)]
    return corners.any(1) if touching else corners.all(1)


def around_head(covered: Mask, down_to: float) -> Array:
    """(H, W) float32: 1 on the head and close around it, where its outline may be off, down to a row."""
    ring = odd(MISFIT * covered.any(0).sum())
    covered = covered & (np.arange(len(covered)) < down_to - ring / 2)[:, None]
    return cv2.GaussianBlur(cv2.dilate(covered.astype(np.float32), np.ones((ring, ring))), (0, 0), 1 + 0.1 * ring)


def _well_inside(raster: Raster, parts: Parts, focal: float) -> Array:
    """(H, W) float32 0..1: the openings without their edge, where the face model may be off by a pixel or two.

    What is soft in the mouth is trusted still farther from its edge: gaps between teeth are none of it.
    """
    soft, every = _shown(raster, parts.inside & ~parts.teeth), _shown(raster, parts.inside | parts.eyes)
    if not every.any():
        return np.zeros(every.shape, np.float32)
    size = odd(LID_EDGE * focal / float(np.median(raster.depth[every])))
    open_, apart = (_shrunk(mask, side) for mask, side in ((every, size), (soft, 3 * size)))
    return np.where(soft, apart, open_)


def _shown(raster: Raster, triangles: Mask) -> Mask:
    """(H, W) where one of the triangles, an (F,) mask, is seen."""
    return raster.covered & triangles[raster.face_index]


def _shrunk(mask: Mask, size: int) -> Array:
    """(H, W) float32 0..1: a mask without its edge, with a soft one within."""
    core = cv2.erode(mask.astype(np.float32), np.ones((size, size)), borderValue=0)
    return (2 * cv2.GaussianBlur(core, (0, 0), 0.4 * size) - 1).clip(0, 1)


@dataclass(frozen=True)
class View:
    """The tracked face model as the canvas's camera sees it.

    Attributes:
        camera: camera of the canvas.
        vertices, normals: (V, 3) float32 camera space.
        raised: (V,) float32 centimetres by which the person's upper teeth stand higher than the face model's.
        rest: (V, 3) float32 the unturned face, its neck joint in the origin, its teeth raised.
        projected: (V, 3) float32 x, y in pixels and depth.
        depth, skull: (H, W) float32 depth of all of it, and without ears and shoulders.
        vertex: (H, W) int64 vertex next to what is seen, -1 where nothing is.
        part, neck, ears, mouth: (H, W) float32, 1 where that is seen: face or neck, and single parts.
        open: (H, W) float32 0..1 well inside of the mouth's and the eyes' openings.
        near: (H, W) float32, see :func:`around_head`.
        covered: (H, W) where it is seen, but for its shoulders.
    """

    camera: Camera
    vertices: Array
    normals: Array
    raised: Array
    rest: Array
    projected: Array
    depth: Array
    skull: Array
    vertex: NDArray[np.int64]
    part: Array
    neck: Array
    ears: Array
    mouth: Array
    open: Array
    near: Array
    covered: Mask

    @classmethod
    def of(cls, camera: Camera, model: MorphableModel, parameters: FaceParameters, photo: Array) -> View:
        parts = Parts.of(model)
        mesh = model.mesh(parameters)
        vertices = np.asarray(mesh.vertices[0])
        projected = camera.project(vertices)
        rest = np.asarray(model.vertices(at_rest(parameters))[0])
        raster = rasterise(projected, np.asarray(model.faces), camera.height, camera.width)
        above = raised(model, parameters, vertices, camera, photo, _shown(raster, parts.inside).astype(np.float32))
        if above.any():
            vertices = vertices + above[:, None] * up(parameters)
            projected = camera.project(vertices)
            raster = rasterise(projected, np.asarray(model.faces), camera.height, camera.width)
        chin = projected[np.asarray(model.head_weight) > 0.99, 1].max()
        skull = ~(parts.ears | parts.shoulders)
        return cls(
            camera=camera,
            vertices=vertices,
            normals=np.asarray(mesh.normals()[0]),
            raised=above,
            rest=rest + above[:, None] * np.array([0, 1, 0], np.float32),
            projected=projected,
            depth=raster.depth,
            skull=rasterise(projected, np.asarray(model.faces)[skull], camera.height, camera.width).depth,
            vertex=np.where(raster.covered, np.asarray(model.faces)[raster.face_index, 0], -1),
            part=_shown(raster, parts.face | parts.neck).astype(np.float32),
            neck=_shown(raster, parts.neck).astype(np.float32),
            ears=_shown(raster, parts.ears).astype(np.float32),
            mouth=_shown(raster, parts.inside).astype(np.float32),
            open=_well_inside(raster, parts, camera.focal),
            near=around_head(_shown(raster, parts.face | parts.scalp), chin),
            covered=_shown(raster, ~parts.shoulders),
        )

    def ear_rows(self, model: MorphableModel) -> tuple[float, float]:
        """Rows in pixels of the ears' top and bottom."""
        ears = self.projected[np.asarray(model.regions["ears"]) if "ears" in model.regions else slice(None), 1]
        return float(ears.min()), float(ears.max())

    def sides(self, model: MorphableModel) -> tuple[Mask, Mask]:
        """(F,) triangles and (W,) columns that lie left of the head's middle."""
        left, _, right, _ = self.head_box(model)
        middle = 0.5 * (left + right)
        return self.projected[np.asarray(model.faces), 0].mean(1) < middle, np.arange(self.camera.width) < middle

    def head_box(self, model: MorphableModel) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the head (not the neck) in pixels."""
        head = self.projected[np.asarray(model.head_weight) > 0.99]
        return (*head[:, :2].min(0), *head[:, :2].max(0))


def up(parameters: FaceParameters) -> Array:
    """(3,) the head's upward direction in camera space."""
    return np.asarray(rotation_from_angles(parameters.head[0])[:, 1])


def odd(size: float) -> int:
    return 2 * int(size / 2) + 1


RIM = 0.02  # of the canvas's longer side: twice how wide what is behind a face shines through at its outline
JUMP = 8.0  # pixels in depth from one pixel to the next, from which on a surface ends and another one lies behind it


def without_rim(bare: Array, depth: Array, focal: float) -> Array:
    """Skin without its rim: a pixel there may show what is beside it, since outlines are off by some pixels.

    Skin ends where hair, clothes or the background begin, and where a part of the face stands before another, such as
    the nose before the far cheek.

    Args:
        bare: (H, W) float32 0..1, skin.
        depth: (H, W) float32 of the face model, infinite where it is not.
        focal: focal length in pixels.
    """
    depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
    far, near = cv2.dilate(depth, np.ones((3, 3))), cv2.erode(depth, np.ones((3, 3)))
    ends = (near > 0) & ((far - near) * focal > JUMP * near)
    size = odd(RIM * max(bare.shape))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    core = cv2.erode(np.where(ends, 0, bare).astype(np.float32), disk, borderValue=1)
    return cv2.GaussianBlur(core, (0, 0), size / 4) * bare
