"""What a photo shows around one face, taken apart into layers: all that does not depend on the edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from instaface.draft.fill import box, calmed, continue_texture, push_pull, smoothstep
from instaface.draft.glasses import Sheet, build_sheet, lift
from instaface.draft.lids import Lids, at_rest
from instaface.draft.occluder import remove
from instaface.draft.relief import Shell, build_shell, heights, to_grid
from instaface.draft.relight import find_marks, head_shadow, shading
from instaface.draft.teeth import raised
from instaface.draft.texture import Texture, complete, matched, unwrap
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles
from instaface.face.colour import srgb_from_linear
from instaface.face.light import shade
from instaface.render.rasterise import Raster, rasterise, visible
from instaface.track import TrackedFace
from instaface.track.glasses import Glasses, find_glasses
from instaface.track.hair import plain_skin
from instaface.track.hands import cut_out, find_hands

if TYPE_CHECKING:
    from instaface.draft.carry import Start

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

GRID = 160  # points of the shell along the canvas's longer side
MISFIT = 0.12  # of the head's width: twice how far the face model's outline may lie inside of the head's
LID_EDGE = 0.006  # of the canvas's longer side: twice how far the edge of an eye or of the mouth may be off
RIM = 0.02  # of the canvas's longer side: twice how wide what is behind a face shines through at its outline
MARGIN = 0.3  # of the head's height: how far the canvas reaches beyond the photo where the photo cuts the person


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
        throat: (H, W) float32 0..1 where the neck is seen.
        head: (H, W, 4) float32 the same of the head, hair, ears and neck, without background in its colour.
        hair: (H, W) float32 0..1, hair.
        bare: (H, W) float32 0..1, the person without hair and clothes.
        surface: (H, W) float32 0..1 where the camera sees the face model's surface and nothing in front of it.
        open: (H, W) float32 0..1 well inside of the mouth's and the eyes' openings.
        depth: (H, W) float32 depth of the face model, infinite where it is not.
        vertices: (V, 3) float32 face model as tracked, camera space.
        normals: (V, 3) float32 its normals.
        raised: (V,) float32 centimetres by which the person's upper teeth stand higher than the face model's.
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
    throat: Array
    head: Array
    hair: Array
    bare: Array
    surface: Array
    open: Array
    depth: Array
    vertices: Array
    normals: Array
    raised: Array
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
        return bool(np.abs(self.photo - self.photo.mean(-1, keepdims=True)).mean() < GREYISH)

    @cached_property
    def start(self) -> Start:
        """The surfaces as the photo shows them."""
        from instaface.draft.carry import Start

        return Start.of(self)

    @cached_property
    def shadowed(self) -> Array:
        """(V, 3) float32 shading of the face model in the photo, with the shadow that the head casts on itself."""
        return shading(self.normals, self.parameters.light, head_shadow(self.model, self.parameters))

    @cached_property
    def masks(self) -> Array:
        """(H, W, 4) float32: ``surface``, ``bare``, ``inside`` and ``hair``, to be looked up together."""
        return np.dstack([self.surface, self.bare, self.inside, self.hair])

    @cached_property
    def skin_masks(self) -> Array:
        """(H, W, 4) float32: ``bare``, the same without its rim, ``inside`` and ``hair``, to be looked up together."""
        size = _odd(RIM * max(self.bare.shape))
        core = cv2.erode(self.bare, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), borderValue=1)
        core = cv2.GaussianBlur(core, (0, 0), size / 4) * self.bare
        return np.dstack([self.bare, core, self.inside, self.hair])

    @cached_property
    def stays(self) -> Array:
        """(H, W) float32 0..1 opacity of all that stays with the shoulders."""
        return np.float32(1) - (1 - self.body[..., 3]) * (1 - self.throat)

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
        reach, edge = _odd(0.03 * size), _odd(0.012 * size)
        hair = cv2.dilate((self.hair > 0.5).astype(np.float32), np.ones((reach, reach)))
        skin = cv2.dilate((self.bare > 0.8).astype(np.float32), np.ones((edge, edge)))
        return cv2.GaussianBlur(hair * (1 - skin), (0, 0), 0.004 * size)

    @property
    def window(self) -> tuple[slice, slice]:
        """The frame's rows and columns of the canvas."""
        left, top, right, bottom = self.margins
        height, width = self.depth.shape
        return slice(top, height - bottom), slice(left, width - right)


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
    def of(cls, model: MorphableModel) -> Parts:
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
            irises=_faces_of(model, "iris_left", "iris_right", touching=True),
            ears=_faces_of(model, "ears", touching=True),
        )


def _faces_of(model: MorphableModel, *regions: str, touching: bool = False) -> Mask:
    """(F,) triangles whose corners all lie in the regions, or any of them for ``touching``."""
    member = np.zeros(len(model.head_weight), bool)
    for region in regions:
        if region in model.regions:
            member[model.regions[region].numpy()] = True
    corners = member[model.faces.numpy()]
    return corners.any(1) if touching else corners.all(1)


def _near(covered: Mask, down_to: float) -> Array:
    """(H, W) float32: 1 on the head and close around it, where its outline may be off, down to a row."""
    ring = _odd(MISFIT * covered.any(0).sum())
    covered = covered & (np.arange(len(covered)) < down_to - ring / 2)[:, None]
    return cv2.GaussianBlur(cv2.dilate(covered.astype(np.float32), np.ones((ring, ring))), (0, 0), 1 + 0.1 * ring)


def _well_inside(raster: Raster, parts: Parts) -> Array:
    """(H, W) float32 0..1: the openings without their edge, where the face model may be off by a pixel or two.

    What is soft in the mouth is trusted still farther from its edge: gaps between teeth are none of it.
    """
    size = _odd(LID_EDGE * max(raster.depth.shape))
    soft = raster.covered & (parts.inside & ~parts.teeth)[raster.face_index]
    every = raster.covered & (parts.inside | parts.eyes)[raster.face_index]
    open_, apart = (_shrunk(mask, side) for mask, side in ((every, size), (soft, 3 * size)))
    return np.where(soft, apart, open_)


def _shrunk(mask: Mask, size: int) -> Array:
    """(H, W) float32 0..1: a mask without its edge, with a soft one within."""
    core = cv2.erode(mask.astype(np.float32), np.ones((size, size)), borderValue=0)
    return (2 * cv2.GaussianBlur(core, (0, 0), 0.4 * size) - 1).clip(0, 1)


@dataclass(frozen=True)
class View:
    """The tracked face model as the canvas's camera sees it."""

    camera: Camera
    vertices: Array
    normals: Array
    raised: Array
    projected: Array
    depth: Array
    skull: Array
    vertex: NDArray[np.int64]
    part: Array
    neck: Array
    open: Array
    near: Array
    covered: Mask

    @classmethod
    def of(cls, camera: Camera, model: MorphableModel, parameters: FaceParameters, photo: Array) -> View:
        parts = Parts.of(model)
        with torch.no_grad():
            mesh = model.mesh(parameters)
            vertices = mesh.vertices[0].numpy()
            projected = camera.project(mesh.vertices[0]).numpy().astype(np.float32)
        raster = rasterise(projected, model.faces.numpy(), camera.height, camera.width)
        mouth = (raster.covered & parts.inside[raster.face_index]).astype(np.float32)
        above = raised(model, parameters, vertices, camera, photo, mouth)
        if above.any():
            vertices = vertices + above[:, None] * up(parameters)
            projected = camera.project(torch.from_numpy(vertices)).numpy()
            raster = rasterise(projected, model.faces.numpy(), camera.height, camera.width)
        chin = projected[model.head_weight.numpy() > 0.99, 1].max()
        drawn = parts.face | parts.neck
        skull = ~(parts.ears | parts.shoulders)
        return cls(
            camera=camera,
            vertices=vertices,
            normals=mesh.normals()[0].numpy(),
            raised=above,
            projected=projected,
            depth=raster.depth,
            skull=rasterise(projected, model.faces.numpy()[skull], camera.height, camera.width).depth,
            vertex=np.where(raster.covered, model.faces.numpy()[raster.face_index, 0], -1),
            part=(raster.covered & drawn[raster.face_index]).astype(np.float32),
            neck=(raster.covered & parts.neck[raster.face_index]).astype(np.float32),
            open=_well_inside(raster, parts),
            near=_near(raster.covered & (parts.face | parts.scalp)[raster.face_index], chin),
            covered=raster.covered & ~parts.shoulders[raster.face_index],
        )

    def ear_rows(self, model: MorphableModel) -> tuple[float, float]:
        """Rows in pixels of the ears' top and bottom."""
        ears = self.projected[model.regions["ears"].numpy() if "ears" in model.regions else slice(None), 1]
        return float(ears.min()), float(ears.max())

    def head_box(self, model: MorphableModel) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the head (not the neck) in pixels."""
        head = self.projected[model.head_weight.numpy() > 0.99]
        return (*head[:, :2].min(0), *head[:, :2].max(0))


def take_apart(face: TrackedFace, model: MorphableModel) -> Scene:
    """Splits the photo around ``face`` into layers, at the face's working resolution."""
    face = face.working
    camera, margins = _canvas(face, model)
    photo = _pad(face.frame_pixels.astype(np.float32), margins, cv2.BORDER_REFLECT_101)
    view = View.of(camera, model, face.parameters, photo)
    inside = _pad(np.ones(face.matte.person.shape, np.float32), margins, cv2.BORDER_CONSTANT)
    person, hair = (_pad(m, margins, cv2.BORDER_REPLICATE) for m in (face.matte.person, face.matte.hair))
    person, hair = _close_top(person, hair, margins, view, model)

    clothes = _pad(face.matte.clothes, margins, cv2.BORDER_REPLICATE)
    everyone, glasses, without, hidden = person, None, photo, np.zeros_like(person)
    before = _hands(face, margins)
    if before.any():
        without, hidden, (person, hair, clothes) = remove(photo, before, person, hair, clothes)
    skin = without
    found = _glasses(face, margins)
    if found is not None:
        skin, worn, (person, hair, clothes) = lift(without, found, person, hair, clothes)
        rest = model.vertices(at_rest(face.parameters))[0].numpy()
        glasses = build_sheet(found, worn, camera, model, face.parameters, rest)
    bare = (person - hair - clothes).clip(0, 1).astype(np.float32)
    surface = view.part * bare
    # Whatever is neither hair nor close to the head stays where it is: clothes, hands, what is held; but for thin
    # things, which are stray hair.
    around = np.maximum(view.near, _near(hair > 0.5, np.inf))
    other = (bare - surface).clip(0, 1) * (1 - around)
    stays = _thick(clothes + other, 0.015 * max(photo.shape))
    head_alpha = (person - stays).clip(0, 1).astype(np.float32)

    reach = _odd(0.014 * max(photo.shape))
    near = cv2.dilate((head_alpha > 0.02).astype(np.float32), np.ones((2 * reach + 1,) * 2))
    wall = (cv2.dilate(everyone, np.ones((2 * reach + 1,) * 2)) < 0.02) & (inside > 0)
    plate = continue_texture(photo, wall, calmed(photo, wall, 2 * reach))
    body = _body(skin, stays, head_alpha - view.neck * surface, inside)
    head = np.dstack([_unmix(skin, head_alpha, plate, inside), head_alpha])
    shell = _shell(view, model, surface, head_alpha, person, hair)
    parts = Parts.of(model)
    lids = Lids.of(model, face.parameters, parts.face & ~parts.inside & ~parts.eyes)
    hugging = hair * inside * (1 - _hanging(shell, hair))
    shown = bare * (1 - hidden)
    hugging = hugging * (1 - hidden)
    texture = _texture(view, model, face.parameters, lids, head, shown * inside, hugging, bool(before.any()))
    return Scene(
        camera=camera,
        parameters=face.parameters,
        margins=margins,
        near=near,
        photo=photo,
        inside=inside,
        person=person,
        plate=plate,
        body=body,
        throat=_throat(view, model, surface, bare) * (1 - hidden),
        head=head,
        hair=hair,
        bare=shown,
        surface=surface,
        open=view.open,
        depth=view.depth,
        vertices=view.vertices,
        normals=view.normals,
        raised=view.raised,
        lids=lids,
        shell=shell,
        texture=texture,
        glasses=glasses,
        before=before,
        without=without,
        model=model,
    )


def _hands(face: TrackedFace, margins: tuple[int, int, int, int]) -> Array:
    """(H, W) float32 0..1 hands before the head with what they hold, over the canvas."""
    hands = find_hands(face.frame_pixels)
    if not hands:
        return _pad(np.zeros_like(face.matte.person), margins, cv2.BORDER_CONSTANT)
    corner = np.array([face.frame.x, face.frame.y], np.float32)
    skin = plain_skin(face.landmarks - corner, (face.frame.width, face.frame.height))
    alpha = cut_out(np.ascontiguousarray(face.frame_pixels), hands, face.matte, skin)
    return _pad(alpha, margins, cv2.BORDER_REPLICATE)


def _glasses(face: TrackedFace, margins: tuple[int, int, int, int]) -> Glasses | None:
    """The face's glasses in pixels of the canvas."""
    corner = np.array([face.frame.x, face.frame.y], np.float32)
    found = find_glasses(face.frame_pixels, face.landmarks - corner)
    if found is None:
        return None
    alpha = _pad(found.alpha, margins, cv2.BORDER_CONSTANT)
    return Glasses(alpha, found.rims + np.array(margins[:2], np.float32), found.width)


def _thick(mask: Array, radius: float) -> Array:
    """``mask`` without what is thinner than about a radius in pixels."""
    support = cv2.GaussianBlur(mask, (0, 0), radius)
    return (mask * smoothstep(support, 0.2, 0.4)).clip(0, 1).astype(np.float32)


def _canvas(face: TrackedFace, model: MorphableModel) -> tuple[Camera, tuple[int, int, int, int]]:
    """Camera of the canvas, and its margins around the frame: some where the photo cuts the head, else none."""
    camera, person = face.frame_camera, face.matte.person - face.matte.clothes
    with torch.no_grad():
        points = camera.project(model.vertices(face.parameters)[0]).numpy()
    head = points[model.head_weight.numpy() > 0.99]
    reach = int(MARGIN * (head[:, 1].max() - head[:, 1].min()))
    chin = int(np.clip(head[:, 1].max(), 1, camera.height))
    borders = person[:chin, 0], person[0], person[:chin, -1], np.zeros(1)
    margins = tuple(reach if border.max() > 0.5 else 0 for border in borders)
    left, top, right, bottom = margins
    frame = face.frame
    width, height = frame.width + left + right, frame.height + top + bottom
    return face.camera.crop(frame.x - left, frame.y - top, width, height, (width, height)), margins  # type: ignore[return-value]


def _pad(array: Array, margins: tuple[int, int, int, int], border: int) -> Array:
    left, top, right, bottom = margins
    return cv2.copyMakeBorder(array, top, bottom, left, right, border)


def _close_top(
    person: Array, hair: Array, margins: tuple[int, ...], view: View, model: MorphableModel
) -> tuple[Array, Array]:
    """Where the photo cuts the head's top, an ellipse closes it."""
    top = margins[1]
    if not top:
        return person, hair
    border = np.nonzero(person[top] > 0.5)[0]
    if not len(border):
        return person, hair
    # An ellipse as wide as the head is at the photo's border, as high as the skull and the hair at its sides.
    x0, y0, x1, _ = view.head_box(model)
    half, middle = 0.5 * (border[-1] - border[0] + 1), 0.5 * (border[0] + border[-1])
    hair_width = max(half - 0.5 * (x1 - x0), 0.04 * (x1 - x0))
    height = np.clip(top - y0 + hair_width, 0.1 * half, 0.9 * top)
    y, x = np.mgrid[:top, : person.shape[1]].astype(np.float32)
    inside = 1 - ((x - middle) / half) ** 2 - ((top - y) / height) ** 2
    soft = smoothstep(inside, -0.03, 0.03)
    person, hair = person.copy(), hair.copy()
    person[:top] *= soft
    hair[:top] = np.minimum(hair[:top], person[:top])
    return person, hair


BEHIND = 0.025  # of the canvas' longer side: how far what stays goes on behind the head at least


def _body(photo: Array, stays: Array, hidden: Array, inside: Array) -> Array:
    """Colour and opacity of what stays, continued where the head hides it."""
    known = cv2.erode(stays * inside, np.ones((5, 5))) > 0.97
    if not known.any():
        return np.zeros((*stays.shape, 4), np.float32)
    hidden = hidden.clip(0, 1).astype(np.float32)
    likely = push_pull(stays, (hidden < 0.02).astype(np.float32))
    reach = _odd(2 * BEHIND * max(stays.shape))
    close = cv2.dilate(known.astype(np.float32), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    close = cv2.GaussianBlur(close, (0, 0), 0.1 * reach)
    alpha = stays + hidden * np.maximum(smoothstep(likely, 0.4, 0.6), close)
    return np.dstack([continue_texture(photo, known), alpha.clip(0, 1)]).astype(np.float32)


def _throat(view: View, model: MorphableModel, surface: Array, bare: Array) -> Array:
    """(H, W) 0..1 where the neck is seen, but for its upper end, which goes along with the head."""
    follows = _shell_weights(view, model, (len(bare), 1), 1)
    return np.maximum(view.neck * surface, _low_skin(view, model, bare)) * (1 - smoothstep(follows, *FOLLOWING))


FOLLOWING = 0.4, 0.8  # share of the head's turn, from what stays to what goes along


def _low_skin(view: View, model: MorphableModel, bare: Array) -> Array:
    """(H, W) 0..1: bare skin below the ears that lies well outside of the face: neck, chest, hands."""
    _, top, _, chin = view.head_box(model)
    face = cv2.dilate(view.part - view.neck, np.ones((_odd(0.05 * (chin - top)),) * 2))
    lobe = view.ear_rows(model)[1]
    core = np.where(np.arange(len(bare)) > lobe, 1, 0)[:, None] * (bare * (1 - face) > 0.95)
    opened = cv2.morphologyEx(core.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_odd(0.04 * (chin - top)),) * 2))
    return np.minimum(bare, cv2.GaussianBlur(opened.astype(np.float32), (0, 0), 1))


def _unmix(photo: Array, alpha: Array, behind: Array, inside: Array) -> Array:
    """Colour of a layer without what shines through at its soft edge: there, its colour close by goes on."""
    a = np.maximum(alpha, 0.2)[..., None]
    own = np.clip((photo - (1 - a) * behind) / a, 0, 255)
    return push_pull(own, smoothstep(alpha * inside, 0.3, 0.95)).astype(np.float32)


def _shell(view: View, model: MorphableModel, surface: Array, head_alpha: Array, person: Array, hair: Array) -> Shell:
    height, width = surface.shape
    step = max(2, round(max(height, width) / GRID))
    covered = to_grid(view.covered.astype(np.float32), step) > 0.99
    rows, columns = (
        np.minimum(np.arange(n) * step, size - 1) for n, size in zip(covered.shape, (height, width), strict=True)
    )
    z = np.where(covered, -view.depth[np.ix_(rows, columns)], -np.inf).astype(np.float32)
    skull = np.where(covered, -view.skull[np.ix_(rows, columns)], -np.inf).astype(np.float32)
    face = (to_grid(surface, step) > 0.9) & covered
    head = (to_grid(head_alpha, step) > 0.3) | face
    # The silhouette lies one cell further in, so that front and back have met where the head's opacity ends.
    outside = _grow(to_grid(person, step) < 0.5) & ~face
    head &= ~outside
    middle = _middle(view, model)
    hairy, opacity = to_grid(hair, step), to_grid(head_alpha, step)
    low = np.broadcast_to(smoothstep(rows, *view.ear_rows(model))[:, None], face.shape)
    relief = heights(head, face, outside, z, skull, low, hairy > 0.5, middle, step * -middle / view.camera.focal)
    near = _grow(_grow(_grow(head)))
    bare = near & (~face | _grow(~face) | relief.behind)
    # What hangs behind the face is not joined to it.
    hanging = relief.hanging | relief.behind
    wall = _any(hanging) & _any(~hanging & face) & (np.ptp(_corners(relief.z), 0) > WALL)
    cells = ~_any(~near) & _any(bare) & ~wall
    weights = _shell_weights(view, model, face.shape, step)
    anchors = np.where(face, view.vertex[np.ix_(rows, columns)], -1)
    shell = build_shell(view.camera, relief, middle, weights, cells, step, anchors, hairy, opacity)
    # Skin right beside the face model turns as that does.
    own = np.tile(model.head_weight.numpy()[shell.anchor], 2)
    share = cv2.GaussianBlur((shell.rim * shell.follow).reshape(shell.shape), (0, 0), 1).reshape(-1)
    return replace(shell, weights=(shell.weights + np.tile(share, 2) * (own - shell.weights)).astype(np.float32))


def _hanging(shell: Shell, hair: Array) -> Array:
    """(H, W) 0..1 where hair hangs behind the face, and so is not what the face's outline shows."""
    hanging = cv2.dilate(shell.hanging.reshape(shell.shape).astype(np.float32), np.ones((3, 3)))
    height, width = hair.shape
    return cv2.resize(hanging, (width, height), interpolation=cv2.INTER_LINEAR)


WALL = 1.0  # centimetres in depth from which on a square of the shell would join what hangs behind to the face


def _corners(cells: NDArray) -> list[NDArray]:
    """(h, w) to the (h - 1, w - 1) values at each of the four corners of the squares between."""
    return [cells[a, b] for a in (slice(None, -1), slice(1, None)) for b in (slice(None, -1), slice(1, None))]


def _any(cells: Mask) -> Mask:
    """(h - 1, w - 1) squares of which any corner is in (h, w) ``cells``."""
    return np.logical_or.reduce(_corners(cells))


def _grow(cells: Mask) -> Mask:
    """``cells`` and their neighbours."""
    return cv2.dilate(cells.astype(np.uint8), np.ones((3, 3))) > 0


def _middle(view: View, model: MorphableModel) -> float:
    """z of the plane through the skull's widest points, in which its silhouette lies."""
    of_skull = model.head_weight.numpy() > 0.99
    if "ears" in model.regions:
        of_skull[model.regions["ears"].numpy()] = False
    head = view.vertices[of_skull]
    off_axis = np.abs(head[:, 0] - np.median(head[:, 0]))
    return float(np.median(head[off_axis > np.quantile(off_axis, 0.95), 2]))


def _shell_weights(view: View, model: MorphableModel, shape: tuple[int, ...], step: int) -> Array:
    """Hair turns with the head down to the chin; what falls lower follows less and less, down to the shoulders."""
    _, top, _, chin = view.head_box(model)
    rows = np.arange(shape[0], dtype=np.float32) * step
    end = min(chin + 0.45 * (chin - top), view.depth.shape[0])  # what the photo's lower edge cuts must not leave it
    t = 1 - smoothstep(rows, min(chin - 0.15 * (chin - top), end - 0.3 * (chin - top)), end)
    return np.repeat(t[:, None], shape[1], 1).astype(np.float32)


def _texture(
    view: View,
    model: MorphableModel,
    parameters: FaceParameters,
    lids: Lids,
    head: Array,
    bare: Array,
    hair: Array,
    covered: bool,
) -> Texture:
    """The unwrapped skin; where some of it was ``covered``, what is filled in has brows and lips of its own."""
    facing = -(view.normals * view.vertices).sum(-1) / np.linalg.norm(view.vertices, axis=-1)
    parts = Parts.of(model)
    per_vertex = np.column_stack(
        [view.projected, facing, view.normals, lids.hidden, lids.lashes, _shading(view.normals, parameters)]
    )
    attributes, occupied, face = unwrap(model, per_vertex.astype(np.float32))
    x, y = attributes[..., 0] - 0.5, attributes[..., 1] - 0.5
    colour = cv2.remap(head[..., :3], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    masks = np.dstack([cv2.erode(bare, np.ones((5, 5))), hair, view.open])
    shown, haired, open_ = np.moveaxis(cv2.remap(masks, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), -1, 0)
    lid, lashes = attributes[..., 7], attributes[..., 8:-3]
    within = (parts.inside | parts.eyes)[face]
    faced = occupied * visible(attributes[..., :3], view.depth) * smoothstep(attributes[..., 3], 0.15, 0.45)
    faced = faced * np.where(within, open_, smoothstep(_density(x, y, occupied), *STRETCH) * (1 - _around(lid)))
    seen, haired = (shown * faced).astype(np.float32), (haired * faced).astype(np.float32)
    grey = np.abs(colour - colour.mean(-1, keepdims=True))[seen > 0.5].mean() < GREYISH
    shading = np.where(occupied[..., None], attributes[..., -3:], 1)
    if grey:
        shading[:] = shading.mean(-1, keepdims=True)
    if covered:
        shading = shading * np.where(occupied[..., None], _tint(model, parameters, occupied), 1)
        seen = seen * np.where(occupied & ~within & ~parts.ears[face], _usual(colour / shading, seen), 1)
    left = np.arange(occupied.shape[1]) < occupied.shape[1] // 2
    ears, scalp = (part[face] & occupied for part in (parts.ears, parts.scalp))
    texture = complete(colour, seen, haired, occupied & ~within, shading, [ears & left, ears & ~left, scalp & ~ears])
    # What opens the mouth or turns the eyes shows was rarely seen: the model's own colours, matched to what was seen.
    painted = _painted(model, parameters, attributes[..., 4:7], parts.eyes[face])
    if grey:
        painted[:] = painted.mean(-1, keepdims=True)
    mixed = texture.colour * (1 - lid[..., None] * lashes)
    for part in (parts.teeth, parts.inside & ~parts.teeth, parts.irises, parts.eyes & ~parts.irises):
        texels = part[face] & occupied
        if texels.any():
            w = box(texels, 0.02)
            own = matched(painted[w], colour[w], (seen * texels)[w])
            mixed[w] = np.where(texels[w][..., None], own, mixed[w])
    return Texture(mixed.astype(np.float32), texture.mirrored)


LASH_TEXELS = 11  # twice the texels around a lid that lashes may cover
EYE_SHADE = 0.45  # share of the light that lids and brows leave the eyes; as measured on portraits
GREYISH = 2.0  # of 255: the mean distance of a photo's channels from their mean, below which it is black and white


def _tint(model: MorphableModel, parameters: FaceParameters, occupied: Mask) -> Array:
    """(S, S, 3) the face's own colours over its usual one, as a factor of sRGB values."""
    albedo = cv2.resize(model.albedo(parameters.albedo)[0].permute(1, 2, 0).numpy(), occupied.shape[::-1])
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


def _painted(model: MorphableModel, parameters: FaceParameters, normals: Array, eyes: Mask) -> Array:
    """(S, S, 3) 0..255: the model's own colours in the photo's light, half of which is scattered within the mouth."""
    albedo = cv2.resize(model.albedo(parameters.albedo)[0].permute(1, 2, 0).numpy(), normals.shape[1::-1])
    towards = torch.from_numpy(np.array([[[0.0, 0.0, 1.0]]], np.float32))
    frontal = shade(towards, parameters.light)[0, 0].numpy()
    direct = shade(torch.from_numpy(normals.reshape(1, -1, 3)), parameters.light)[0].numpy().reshape(normals.shape)
    light = (frontal + direct.clip(0)) / 2 * np.where(eyes, EYE_SHADE, 1)[..., None]
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


SHADED = 0.3, 1.6  # range of shading that the estimated light is believed to reach where the camera saw nothing
STRETCH = 0.06, 0.2  # of the usual number of pixels a texel: what is stretched out of less is not trusted


def _density(x: Array, y: Array, occupied: Mask) -> Array:
    """(S, S) pixels of the photo under a texel, over their median: the lids of open eyes are but a few."""
    area = np.abs(np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1))
    area = cv2.medianBlur(area.astype(np.float32), 5)  # the borders of islands are no gradients
    return area / max(float(np.median(area[occupied])), 1e-9)


def up(parameters: FaceParameters) -> Array:
    """(3,) the head's upward direction in camera space."""
    return rotation_from_angles(parameters.head[0])[:, 1].numpy()


def _odd(size: float) -> int:
    return 2 * int(size / 2) + 1
