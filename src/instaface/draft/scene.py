"""What a photo shows around one face, taken apart into layers: all that does not depend on the edit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.glasses import Sheet
from instaface.draft.lids import Lids
from instaface.draft.relief import Shell
from instaface.draft.relight import find_marks
from instaface.draft.teeth import Row
from instaface.draft.texture import Texture, greyish
from instaface.draft.view import odd, without_rim
from instaface.face import Camera, FaceParameters, MorphableModel

if TYPE_CHECKING:
    from instaface.draft.surfaces import Start

Array = NDArray[np.float32]

FEATURES = ("brows", "eyes", "nose", "lips")
ROW_EDGE = 0.025  # of the canvas's longer side: twice how far teeth colour what is around them


@dataclass(frozen=True)
class Scene:
    """Layers of a photo around one face, over a canvas of H x W pixels: the face's frame and what it cuts off.

    Attributes:
        camera: camera of the canvas.
        parameters: the tracked face.
        margins: (left, top, right, bottom) pixels by which the canvas is larger than the frame.
        near: (H, W) float32, 1 on the head and so close around it that there may be strands that the matte missed.
        photo: (H, W, 3) float32 0..255, the frame, reflected at its border.
        inside: (H, W) float32, 1 inside of the frame.
        person: (H, W) float32 0..1, head and all that stays.
        plate: (H, W, 3) float32 0..255, the background, continued behind the person.
        body: (H, W, 4) float32 colour 0..255 and opacity 0..1 of what stays, continued behind the head.
        clothes: (H, W) float32 0..1 where the photo shows what stays: clothes, and what is held.
        throat: (H, W) float32 0..1 where the neck is seen.
        head: (H, W, 4) float32 the same of the head, hair, ears and neck, without background in its colour.
        hair: (H, W) float32 0..1, hair.
        strands: (H, W, 3) float32 0..255, the head's hair, continued all around it.
        bare: (H, W) float32 0..1, the person without hair and clothes.
        surface: (H, W) float32 0..1 where the camera sees the face model's surface and nothing in front of it.
        over: (H, W) float32 0..1 what may come before the face model: hair and ears, but not the skin right beside it.
        open: (H, W) float32 0..1 well inside of the mouth's and the eyes' openings.
        depth: (H, W) float32 depth of the face model, infinite where it is not.
        vertices: (V, 3) float32 face model as tracked, camera space.
        normals: (V, 3) float32 its normals.
        raised: (V,) float32 centimetres by which the person's upper teeth stand higher than the face model's.
        hidden: (F,) bool, triangles of the face model that are not drawn: ears that hair hides, teeth of ``row``.
        row: the upper teeth that the photo shows.
        toothless: whether it shows darkness where the face model has them; ``hidden`` has them then.
        lids: the closing eyelids.
        shell: hair and the rest of the head.
        texture: the unwrapped skin.
        glasses: what the face wears before its eyes; no other layer shows it.
        before: (H, W) float32 0..1, opacity of hands and the like before the head, which stay where they are.
        without: (H, W, 3) float32 0..255, the photo without what is before the head.
        model: the face model that ``parameters`` belong to.
    """

    camera: Camera
    parameters: FaceParameters
    margins: tuple[int, int, int, int]
    near: Array
    photo: Array
    inside: Array
    person: Array
    plate: Array
    body: Array
    clothes: Array
    throat: Array
    head: Array
    hair: Array
    strands: Array
    bare: Array
    surface: Array
    over: Array
    open: Array
    depth: Array
    vertices: Array
    normals: Array
    raised: Array
    hidden: NDArray[np.bool_]
    row: Row | None
    toothless: bool
    lids: Lids
    shell: Shell
    texture: Texture
    glasses: Sheet | None
    before: Array
    without: Array
    model: MorphableModel

    @cached_property
    def marks(self) -> Array:
        """(H, W, 3) float32 cast shadows (below 0) and highlights (above 0), see :func:`find_marks`."""
        mesh = np.concatenate([self.vertices, self.normals], 1)
        marks = find_marks(self.model, self.parameters, self.camera, mesh, self.photo, self.bare * self.inside)
        return np.repeat(marks.mean(-1, keepdims=True), 3, -1) if self.grey else marks

    @cached_property
    def grey(self) -> bool:
        """Whether the photo is black and white, and has to stay so."""
        return greyish(self.photo)

    @cached_property
    def start(self) -> Start:
        """The surfaces as the photo shows them."""
        from instaface.draft.surfaces import Start

        return Start.of(self)

    @cached_property
    def shadowed(self) -> Array:
        """(V, 3) float32 shading of the surfaces in the photo's light, shadows included; only new light asks for it."""
        from instaface.draft.surfaces import shadowed

        return shadowed(self)

    @cached_property
    def behind_teeth(self) -> Array:
        """(H, W) float32: ``open``, -1 where the photo shows the row of teeth, and where it may show lips instead since
        it shows nothing of the mouth's inside around."""
        from instaface.draft.carry import carry_teeth

        if self.toothless:
            return np.full_like(self.open, -1)  # the face model would carry the teeth below, and lips, as others
        row, inner = carry_teeth(self, self.parameters), self.open.copy()
        size = odd(ROW_EDGE * max(inner.shape))
        inner[row.window][cv2.dilate(row.alpha, np.ones((size, size))) > 0.5] = -1
        certain = cv2.dilate((inner > 0.5).astype(np.uint8), np.ones((2 * size + 1, 2 * size + 1)))
        return np.where(certain > 0, inner, np.float32(-1))

    @cached_property
    def masks(self) -> Array:
        """(H, W, 4) float32: ``surface``, ``over``, ``inside`` and ``hair``, to be looked up together."""
        return np.dstack([self.surface, self.over, self.inside, self.hair])

    @cached_property
    def skin_masks(self) -> Array:
        """(H, W, 4) float32: ``bare``, the same without its rim, ``inside`` and ``hair``, to be looked up together."""
        core = without_rim(self.bare, self.depth, self.camera.focal)
        return np.dstack([self.bare, core, self.inside, self.hair])

    @cached_property
    def stays(self) -> Array:
        """(H, W) float32 0..1 opacity of all that stays with the shoulders."""
        return np.float32(1) - (1 - self.body[..., 3]) * (1 - self.throat)

    @cached_property
    def standing(self) -> dict[str, tuple[Array, Array, Array]]:
        """What stays with the shoulders, by name, "body", "throat" and "clothes": (H, W, 3) colour, (H, W) opacity,
        coverage."""
        body, opacity = self.body[..., :3], self.body[..., 3]
        parts = {"body": (body, opacity), "throat": (self.photo, self.throat), "clothes": (body, self.clothes)}
        return {
            name: (np.ascontiguousarray(colour), np.ascontiguousarray(opacity), (opacity > 0) * self.inside)
            for name, (colour, opacity) in parts.items()
        }

    @cached_property
    def features(self) -> NDArray[np.bool_]:
        """(H, W) where the photo shows brows, eyes, nose and mouth, and what lies between them."""
        regions = [np.asarray(self.model.regions[name]) for name in FEATURES if name in self.model.regions]
        inside = np.zeros(self.depth.shape, np.uint8)
        if regions:
            points = self.camera.project(self.vertices[np.concatenate(regions)])[:, :2].astype(np.float32)
            cv2.fillConvexPoly(inside, np.rint(cv2.convexHull(points)).astype(np.int32), 1)
        return inside > 0

    @cached_property
    def positions(self) -> Array:
        """(H, W, 2) float32: x, y of each pixel's centre."""
        height, width = self.depth.shape
        return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).astype(np.float32)

    @cached_property
    def outline(self) -> tuple[Array, Array]:
        """(H, W, 2) float32 the point of the person's outline that is nearest to a pixel, and (H, W) its distance."""
        smooth = cv2.GaussianBlur(self.person, (0, 0), 0.005 * max(self.person.shape))
        solid = (smooth > 0.5).astype(np.uint8)
        contour = (solid > 0) & (cv2.erode(solid, np.ones((3, 3)), borderValue=1) == 0) & (self.inside > 0)
        if not contour.any():
            return self.positions, np.full(contour.shape, np.inf, np.float32)
        distance, labels = cv2.distanceTransformWithLabels(
            (~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        points = np.zeros((labels.max() + 1, 2), np.float32)
        points[labels[contour]] = self.positions[contour]
        return points[labels], distance

    @cached_property
    def loose(self) -> Array:
        """(H, W) float32 0..1: as close around hair as it may be loose, but not around skin."""
        size = max(self.hair.shape)
        reach, edge = odd(0.03 * size), odd(0.012 * size)
        hair = cv2.dilate((self.hair > 0.5).astype(np.float32), np.ones((reach, reach)))
        skin = cv2.dilate((self.bare > 0.8).astype(np.float32), np.ones((edge, edge)))
        return cv2.GaussianBlur(hair * (1 - skin), (0, 0), 0.004 * size)

    @property
    def window(self) -> tuple[slice, slice]:
        """The frame's rows and columns of the canvas."""
        left, top, right, bottom = self.margins
        height, width = self.depth.shape
        return slice(top, height - bottom), slice(left, width - right)
