"""A photo taken apart into layers around one face."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft.beyond import Margins, canvas, close, pad, reflected
from instaface.draft.fill import box, calmed, continue_texture, push_pull, smoothstep
from instaface.draft.glasses import build_sheet, lift
from instaface.draft.lids import Lids
from instaface.draft.occluder import remove
from instaface.draft.relief import FOLLOW_RANGE, Shell, build_shell, harmonic, heights, to_grid
from instaface.draft.scene import Scene
from instaface.draft.skin import skin_texture
from instaface.draft.teeth import find_row, not_shown
from instaface.draft.view import Parts, View, around_head, odd
from instaface.face import MorphableModel
from instaface.track import TrackedFace
from instaface.track.glasses import Glasses, find_glasses
from instaface.track.hair import ColourModel, features_of, plain_skin, sampled
from instaface.track.hands import cut_out, find_hands
from instaface.track.threads import together

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

GRID = 160  # points of the shell along the canvas's longer side


def take_apart(face: TrackedFace, model: MorphableModel) -> Scene:
    """Splits the photo around ``face`` into layers, at the face's working resolution."""
    face = face.working
    camera, margins = canvas(face, model)
    photo = pad(face.frame_pixels.astype(np.float32), margins, cv2.BORDER_REFLECT_101)
    view, before = together(lambda: View.of(camera, model, face.parameters, photo), lambda: _hands(face, margins))
    inside = pad(np.ones(face.matte.person.shape, np.float32), margins, cv2.BORDER_CONSTANT)
    person, hair = (pad(m, margins, cv2.BORDER_REPLICATE) for m in (face.matte.person, face.matte.hair))
    clothes = pad(face.matte.clothes, margins, cv2.BORDER_REPLICATE)
    person, hair = close(person, hair, clothes, margins, view, model)

    everyone, glasses, without, hidden = person, None, photo, np.zeros_like(person)
    if before.any():
        without, hidden, (person, hair, clothes) = remove(photo, before, person, hair, clothes)
    skin = without
    found = _glasses(face, margins)
    if found is not None:
        skin, worn, (person, hair, clothes) = lift(without, found, person, hair, clothes)
        glasses = build_sheet(found, worn, camera, model, face.parameters, view.rest)
    bare = (person - hair - clothes).clip(0, 1).astype(np.float32)
    parts = Parts.of(model)
    ears, framing = _hidden_ears(view, model, parts, bare, hair)
    # What is seen of an ear that is not drawn, its lobe perhaps, goes with the hair.
    undrawn = np.isin(view.vertex, np.asarray(model.faces)[ears])
    surface = view.part * bare * (1 - view.ears * undrawn)
    # Whatever is neither hair, nor close to the head, nor the neck's skin stays where it is: clothes, hands, what is
    # held; but for thin things, which are stray hair.
    beside = _beside_neck(view, model)
    of_neck = _like_neck(photo, (view.neck * bare > 0.9) & beside, bare, beside)
    around = np.maximum.reduce([view.near, around_head(hair > 0.5, np.inf), of_neck])
    other = (bare - surface).clip(0, 1) * (1 - around)
    stays = _resting(_thick(clothes + other, 0.015 * max(photo.shape)), clothes)
    head_alpha = (person - stays).clip(0, 1).astype(np.float32)

    reach = odd(0.014 * max(photo.shape))
    near = cv2.dilate((head_alpha > 0.02).astype(np.float32), np.ones((2 * reach + 1,) * 2))
    wall = (cv2.dilate(everyone, np.ones((2 * reach + 1,) * 2)) < 0.02) & (inside > 0)

    def plate_and_head() -> tuple[Array, Array, Array]:
        plate = continue_texture(photo, wall, calmed(photo, wall, 2 * reach))
        # Hair that goes on beyond the photo's border is the photo's, reflected there.
        known = reflected(face.matte.hair, margins, inside)
        head = np.dstack([_unmix(skin, head_alpha, plate, known), head_alpha])
        strands = _strands(head, hair, inside)
        return plate, _combed(head, hair, strands), strands

    (plate, head, strands), shell, lids, row = together(
        plate_and_head,
        lambda: _shell(view, model, surface, head_alpha, person, hair, framing, beside),
        lambda: Lids.of(model, face.parameters, parts.face & ~parts.inside & ~parts.eyes),
        lambda: find_row(model, face.parameters, camera, without, view.mouth, view.rest),
    )
    shown = bare * (1 - hidden)
    hugging = hair * inside * (1 - _hanging(shell, hair)) * (1 - hidden) * (1 - view.neck)
    texture, body, throat = together(
        lambda: skin_texture(
            view, model, face.parameters, lids, head, shown * inside, hugging, strands, bool(before.any())
        ),
        lambda: _body(skin, stays, clothes + bare - surface, head_alpha, view.neck * surface, inside),
        lambda: _throat(view, model, surface, bare) * (1 - hidden),
    )
    scale = camera.focal / -float(face.parameters.translation[0, 2])
    teeth = not_shown(model, view.vertex, view.open, scale, without, bare) if row is None else row.hides
    at_face = np.maximum(_from_grid(shell.follow * ~_next_to(shell, model, "ears"), shell, hair.shape), beside)
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
        clothes=stays,
        throat=throat,
        head=head,
        hair=hair,
        strands=strands,
        bare=shown,
        surface=surface,
        over=(1 - surface) * (1 - np.maximum(shown * at_face, clothes)),
        open=view.open,
        depth=view.depth,
        vertices=view.vertices,
        normals=view.normals,
        raised=view.raised,
        hidden=ears | teeth,
        row=row,
        toothless=row is None and bool(teeth.any()),
        lids=lids,
        shell=shell,
        texture=texture,
        glasses=glasses,
        before=before,
        without=without,
        model=model,
    )


def _hands(face: TrackedFace, margins: Margins) -> Array:
    """(H, W) float32 0..1 hands before the head with what they hold, over the canvas."""
    hands = find_hands(face.frame_pixels)
    if not hands:
        return pad(np.zeros_like(face.matte.person), margins, cv2.BORDER_CONSTANT)
    corner = np.array([face.frame.x, face.frame.y], np.float32)
    skin = plain_skin(face.landmarks - corner, (face.frame.width, face.frame.height))
    alpha = cut_out(np.ascontiguousarray(face.frame_pixels), hands, face.matte, skin)
    return pad(alpha, margins, cv2.BORDER_REPLICATE)


def _glasses(face: TrackedFace, margins: Margins) -> Glasses | None:
    """The face's glasses in pixels of the canvas."""
    corner = np.array([face.frame.x, face.frame.y], np.float32)
    found = find_glasses(face.frame_pixels, face.landmarks - corner)
    if found is None:
        return None
    alpha = pad(found.alpha, margins, cv2.BORDER_CONSTANT)
    return Glasses(alpha, found.rims + np.array(margins[:2], np.float32), found.width)


def _thick(mask: Array, radius: float) -> Array:
    """``mask`` without what is thinner than about a radius in pixels."""
    support = cv2.GaussianBlur(mask, (0, 0), radius)
    return (mask * smoothstep(support, 0.2, 0.4)).clip(0, 1).astype(np.float32)


def _resting(stays: Array, clothes: Array) -> Array:
    """What stays without pieces that hang free, such as earrings: they touch neither clothes nor the photo's border."""
    _, labels = cv2.connectedComponents((stays > 0.02).astype(np.uint8))
    border = np.concatenate([labels[-1], labels[:, 0], labels[:, -1]])
    return np.where(np.isin(labels, np.union1d(border, labels[clothes > 0.5])), stays, 0).astype(np.float32)


UNLIKE = 4.0  # log-likelihood below what is usual for the neck's skin, from which on something is no skin
ENOUGH_SKIN = 100  # pixels that tell what skin looks like
PIECE = 0.008  # of the canvas' longer side: half as large as the smallest piece of skin or of something else


def _beside_neck(view: View, model: MorphableModel) -> Mask:
    """(H, W) what is close to the face model's neck, which is narrower than the person's may be, below the ears."""
    away = cv2.distanceTransform((view.neck < 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    close = away < FOLLOW_RANGE * view.camera.focal / -_middle(view, model)
    return close & (np.arange(len(close))[:, None] > view.ear_rows(model)[1])


def _like_neck(photo: Array, neck: Mask, bare: Array, within: Mask) -> Array:
    """(H, W) 0..1 where the photo looks like the skin of the neck and so goes along with it, as collars do not."""
    skinlike = np.zeros_like(bare)
    if neck.sum() < ENOUGH_SKIN or not within.any():
        return skinlike
    around = box(within, 0)
    features, shown = features_of(photo[around].astype(np.uint8)), neck[around]
    likelihood = ColourModel(sampled(features, shown), components=3).log_likelihood(features)
    like = bare[around] * (likelihood > np.median(likelihood[shown]) - UNLIKE)
    like, known = (cv2.GaussianBlur(part, (0, 0), PIECE * max(bare.shape)) for part in (like, bare[around]))
    skinlike[around] = within[around] * smoothstep(like / (known + 1e-6), 0.4, 0.6)
    return skinlike


SLIVER = 0.01  # of the canvas' longer side: how thin a strip of neck is left out of account
BEHIND = 0.025  # of the canvas' longer side: how far what stays goes on behind the head at least


def _body(photo: Array, stays: Array, apart: Array, head: Array, neck: Array, inside: Array) -> Array:
    """Colour and opacity of what stays, continued where the head hides it, but not over the neck.

    What is ``apart`` from face and hair, and stays in part, has the photo's own colours.
    """
    known = cv2.erode(np.where(stays > 0.02, apart, 0) * inside, np.ones((5, 5))) > 0.97
    if not known.any():
        return np.zeros((*stays.shape, 4), np.float32)
    likely = push_pull(stays, (head - neck < 0.02).astype(np.float32))
    hidden = (head - _thick(neck, SLIVER * max(neck.shape))).clip(0, 1)  # a thin neck would be a crease
    reach = odd(2 * BEHIND * max(stays.shape))
    beside = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    beside[reach // 2 + 1 :] = 0  # a collar ends behind the neck where it ends beside it
    close = cv2.dilate(known.astype(np.uint8), beside)
    close = cv2.GaussianBlur(close.astype(np.float32), (0, 0), 0.1 * reach)
    alpha = stays + hidden * np.maximum(smoothstep(likely, 0.4, 0.6), close)
    return np.dstack([continue_texture(photo, known), alpha.clip(0, 1)]).astype(np.float32)


def _throat(view: View, model: MorphableModel, surface: Array, bare: Array) -> Array:
    """(H, W) 0..1 where the neck is seen, but for its upper end, which goes along with the head."""
    follows = _shell_weights(view, model, (len(bare), 1), 1)
    return np.maximum(view.neck * surface, _low_skin(view, model, bare)) * (1 - smoothstep(follows, *FOLLOWING))


FOLLOWING = 0.1, 0.4  # share of the head's turn, from what stays to what goes along


def _low_skin(view: View, model: MorphableModel, bare: Array) -> Array:
    """(H, W) 0..1: bare skin below the ears that lies well outside of the face: neck, chest, hands."""
    _, top, _, chin = view.head_box(model)
    face = cv2.dilate(view.part - view.neck, np.ones((odd(0.05 * (chin - top)),) * 2))
    lobe = view.ear_rows(model)[1]
    core = np.where(np.arange(len(bare)) > lobe, 1, 0)[:, None] * (bare * (1 - face) > 0.95)
    opened = cv2.morphologyEx(core.astype(np.uint8), cv2.MORPH_OPEN, np.ones((odd(0.04 * (chin - top)),) * 2))
    return np.minimum(bare, cv2.GaussianBlur(opened.astype(np.float32), (0, 0), 1))


def _unmix(photo: Array, alpha: Array, behind: Array, known: Array) -> Array:
    """Colour of a layer without what shines through at its soft edge: there, its colour close by goes on."""
    a = np.maximum(alpha, 0.2)[..., None]
    own = np.clip((photo - (1 - a) * behind) / a, 0, 255)
    return push_pull(own, smoothstep(alpha * known, 0.3, 0.95)).astype(np.float32)


def _strands(head: Array, hair: Array, inside: Array) -> Array:
    """(H, W, 3) the head's hair, continued all around it: what comes into view of it when the head turns."""
    other = cv2.dilate(head[..., 3] - hair, np.ones((odd(HAIRLINE * max(hair.shape)),) * 2))
    known = (cv2.erode(hair * inside, np.ones((5, 5))) > 0.95) & (other < 0.1)
    return continue_texture(np.ascontiguousarray(head[..., :3]), known, smooth=12, reach=0.3)


HAIRLINE = 0.03  # of the canvas's longer side: twice how far skin shines through hair that borders on it
SOFT = 0.7, 1.0  # opacity of hair, from which its colours are guessed to which they are the photo's


def _combed(head: Array, hair: Array, strands: Array) -> Array:
    """(H, W, 4) the head, its soft hair with the texture of ``strands``: what was unmixed there is smooth."""
    out, soft = head.copy(), (hair > 0) & (head[..., 3] < SOFT[1])
    alpha = head[soft][:, 3]
    share = (hair[soft] / np.maximum(alpha, 1e-3)).clip(0, 1) * (1 - smoothstep(alpha, *SOFT))
    out[soft, :3] += share[:, None] * (strands[soft] - out[soft, :3])
    return out


EAR_SEEN = 0.2  # share of all that the picture could show of ears, from which on one counts as seen
CURTAIN = 0.06  # of the head's width: how wide hair is that hides an ear and falls past it


def _hidden_ears(view: View, model: MorphableModel, parts: Parts, bare: Array, hair: Array) -> tuple[Mask, Mask]:
    """(F,) triangles of ears that hair hides, and (W,) columns on their sides of the head."""
    triangles, columns = view.sides(model)
    left, _, right, _ = view.head_box(model)
    top, lobe = view.ear_rows(model)
    falls = slice(*np.clip([0.5 * (top + lobe), 1.5 * lobe - 0.5 * top], [0, 1], len(hair)).astype(int))
    hidden, framed, any_seen = np.zeros_like(triangles), np.zeros_like(columns), False
    for of_side, side in ((triangles, columns), (~triangles, ~columns)):
        seen = (view.ears * bare)[:, side].sum() > EAR_SEEN * view.ears.sum()
        width = np.median(hair[falls, side].sum(1)) / (right - left)
        if width > CURTAIN and not seen:
            hidden |= parts.ears & of_side
            framed |= side
        any_seen |= bool(seen)
    if hidden.any() and not any_seen:  # a head that is turned away hides its far ear: hair does on both sides
        hidden = parts.ears
    return hidden, framed


def _shell(
    view: View,
    model: MorphableModel,
    surface: Array,
    head_alpha: Array,
    person: Array,
    hair: Array,
    framing: Mask,
    beside: Mask,
) -> Shell:
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
    neck = to_grid(view.neck, step) > 0.5
    cell = step * -middle / view.camera.focal
    relief = heights(head, face, outside, z, skull, neck, framing[columns], low, hairy, middle, cell)
    near = _grow(_grow(_grow(head)))
    bare = near & (~face | _grow(~face) | relief.behind)
    # What hangs behind the face is not joined to it.
    hanging = relief.hanging | relief.behind
    steep = np.ptp(_corners(relief.z), 0)
    wall = _any(hanging) & _any(~hanging & face) & (steep > WALL)
    # Nor are single strands, between which there would be a veil.
    strands = (cv2.dilate(hairy, np.ones((3, 3))) > STRANDS[0]) & (cv2.dilate(hairy, np.ones((7, 7))) < STRANDS[1])
    wall |= _any(_grow(_grow(face))) & _any(strands) & (steep > THIN_WALL)
    cells = ~_any(~near) & _any(bare) & ~wall
    weights = _shell_weights(view, model, face.shape, step)
    anchors = np.where(face, view.vertex[np.ix_(rows, columns)], -1)
    skin = hairy < 0.3
    below_ears = skin & (low > 0.99) & ~hanging
    mirror = np.where(below_ears, relief.z, middle)  # the neck's other side is the face model's own
    shell = build_shell(view.camera, relief, mirror, weights, cells, step, anchors, hairy, opacity)
    # Skin right beside the face model turns as that does.
    own = np.asarray(model.head_weight)[shell.anchor].reshape(face.shape)
    bare_rim = (shell.rim * shell.follow).reshape(shell.shape) * skin
    weights += cv2.GaussianBlur(bare_rim, (0, 0), 1) * (own - weights)
    close = to_grid(beside.astype(np.float32), step) > 0.5
    stays = ~close & (to_grid(person - head_alpha, step) > 0.1)
    others = ~skin | (to_grid(view.near, step) > 0.5)
    weights = _drawn_along(np.where(face, own, weights), close & skin & ~face, face | others, stays)
    ears, neck = (_next_to(shell, model, name) for name in ("ears", "neck"))
    nearer = np.where(np.tile(ears, 2), 1, shell.nearer)
    return replace(shell, weights=np.tile(weights.reshape(-1), 2), rim=shell.rim * ~(ears | neck), nearer=nearer)


def _drawn_along(weights: Array, skin: Mask, turning: Mask, staying: Mask) -> Array:
    """(h, w) share of the turn: ``skin`` is drawn along by what is ``turning`` as far as to what is ``staying``."""
    return harmonic(skin, turning | staying, np.where(staying, 0, weights).astype(np.float32))


def _next_to(shell: Shell, model: MorphableModel, *regions: str) -> Mask:
    """(N,) points of the shell of which the nearest vertex of the face model is in one of the regions."""
    inside = [np.asarray(model.regions[name]) for name in regions if name in model.regions]
    return np.isin(shell.anchor, np.concatenate(inside) if inside else [])


def _hanging(shell: Shell, hair: Array) -> Array:
    """(H, W) 0..1 where hair hangs behind the face, and so is not what the face's outline shows."""
    hanging = cv2.dilate(shell.hanging.reshape(shell.shape).astype(np.float32), np.ones((3, 3)))
    return _from_grid(hanging, shell, hair.shape)


def _from_grid(values: Array, shell: Shell, shape: tuple[int, ...]) -> Array:
    """(H, W) values of the shell's points, stretched over the picture."""
    return cv2.resize(values.reshape(shell.shape), shape[::-1], interpolation=cv2.INTER_LINEAR)


WALL = 1.0  # centimetres in depth from which on a square of the shell would join what hangs behind to the face

STRANDS = 0.1, 0.8  # share of hair that single strands have
THIN_WALL = 0.4  # centimetres in depth from which on they are not joined to the face


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
    of_skull = np.asarray(model.head_weight) > 0.99
    if "ears" in model.regions:
        of_skull[np.asarray(model.regions["ears"])] = False
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
