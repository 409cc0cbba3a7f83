"""Kinds of training pairs: a person as the camera saw them, and the same person as the networks are given them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft import Draft, draft, reworked
from instaface.edit import EXPRESSIONS, NEUTRAL, Edit, Light
from instaface.edit.apply import apply
from instaface.face import FaceParameters, MorphableModel
from instaface.face.colour import pixels_from_linear
from instaface.photo import Photo, composite
from instaface.render import interpolate, render_maps, seen_region
from instaface.track import Frame, TrackedFace
from instaface.track.models import face_model
from instaface.training.config import DataConfig

GREY = 127.5
KNOWN = 0.45  # coverage from which a pixel counts as known, as in the draft
ASIDE = 8.0  # degrees of yaw from which a head is turned aside: its mirror image shows something else than the photo
BESIDE = 0.03  # of the picture's longer side: what lies so close to the person belongs to the outline
TO_FRONT = (0.7, 1.3)  # share of its yaw by which such a head is turned back
RETURNED = ("head", "body", "translation", "expression", "gaze", "light")  # what an edit back to the photo sets


@dataclass(frozen=True)
class Pair:
    """One training pair over a photo.

    Attributes:
        target: the face as it should come out.
        drawn: what the networks are given of its pixels; its frame is that of ``drawn_face``.
        drawn_face: the face that was carried into the target's view.
        parameters: of the edit that carried it there.
        given: maps that belong to it.
        weight: (H, W) float32 0..1 over the target's photo, how much the result counts there; None for all of it.
    """

    target: TrackedFace
    drawn: Draft
    drawn_face: TrackedFace
    parameters: FaceParameters
    given: tuple[str, ...] = ("normals", "albedo", "rendering", "appearance", "coverage")
    weight: NDArray[np.float32] | None = None


def reconstruction(target: TrackedFace) -> Pair:
    """The photo under its own parameters, as the paper trains: the three maps of the face model alone."""
    shape = (target.frame.height, target.frame.width)
    still = Draft(target.frame_pixels, target.frame_pixels, np.ones(shape, np.float32), np.ones(shape, np.float32))
    return Pair(target, still, target, target.parameters, ("normals", "albedo", "rendering"))


def there_and_back(target: TrackedFace, edit: Edit, model: MorphableModel) -> Pair | None:
    """The photo under an edit, tracked anew, and carried back into its own view.

    Misfit, stretching and holes are those of real edits: with the same fit both ways the photo would come back
    nearly as it was, and a network would learn to copy. What the way there invented counts as unseen.

    Returns:
        None where the edited face is not found any more.
    """
    # 1. There: the edited photo is a photo of its own from now on.
    moved = apply(edit, target.parameters, model)
    there = draft(target, moved, model)
    pixels = composite(target.photo.pixels, there.pixels, there.mask, target.frame.x, target.frame.y)
    face = found(replace(target.photo, pixels=pixels), model)
    if face is None:
        return None
    # 2. Back, with the new fit.
    parameters = returned(face, target)
    back = draft(face, parameters, model)
    # 3. What was invented on the way there is not known now.
    invented = _over_photo(np.where(there.mask > 0, there.coverage, 1), target.frame, pixels.shape, 1.0)
    known = carried(invented, face, parameters, model)
    coverage = np.minimum(back.coverage, np.where(back.mask > 0, known, 1)).clip(0, 1)
    appearance = np.where(coverage[..., None] < KNOWN, GREY, back.appearance).astype(np.uint8)
    return Pair(target, replace(back, coverage=coverage, appearance=appearance), face, parameters)


def holes(target: TrackedFace, edit: Edit, model: MorphableModel) -> Pair | None:
    """The photo itself, but for the region that a model may work over: there it is an edit there and back.

    Around what is invented the picture is as sharp as users' photos are, and misfit ends there as it does in an edit.
    The head's outline shall stay as it was drawn, see :func:`outlined`.
    """
    pair = there_and_back(target, edit, model)
    if pair is None:
        return None
    frame, drawn = pair.drawn_face.frame, pair.drawn
    sharp = target.photo.pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width].astype(np.float32)
    share = reworked(drawn.coverage)[..., None]
    pixels, appearance = (np.rint(sharp + share * (part - sharp)) for part in (drawn.pixels, drawn.appearance))
    drawn = replace(drawn, pixels=pixels.astype(np.uint8), appearance=appearance.astype(np.uint8))
    whole = target.photo.pixels.copy()
    person = _over_photo(target.matte.person, target.frame, whole.shape, 0.0)
    window = slice(frame.y, frame.y + frame.height), slice(frame.x, frame.x + frame.width)
    whole[window] = outlined(whole[window], person[window], drawn)
    return replace(pair, target=replace(target, photo=replace(target.photo, pixels=whole)), drawn=drawn)


def outlined(photo: NDArray[np.uint8], person: NDArray[np.float32], drawn: Draft) -> NDArray[np.uint8]:
    """The photo with the outline of a draft: the draft where one shows the person and the other what is behind.

    Where the head ends is a guess that the draft has made. A network that had to guess anew would answer with the
    median of all outlines, a blur around every head; but what a draft leaves farther away, loose hair for one, it can
    learn to take away.

    Args:
        photo: (H, W, 3).
        person: (H, W) 0..1, how much of it is the person.
        drawn: the draft of the same size.

    Returns:
        (H, W, 3) uint8.
    """
    if not drawn.opacity.size:
        return photo
    side, own, other = max(person.shape), person > 0.5, drawn.opacity > 0.5
    away = cv2.distanceTransform((~(own & other)).astype(np.uint8), cv2.DIST_L2, 5)
    differs = (own & ~other) | (other & ~own & (away < BESIDE * side))
    wide = cv2.dilate(differs.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    share = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 1.5)[..., None]
    return np.rint(photo + share * (drawn.pixels.astype(np.float32) - photo)).astype(np.uint8)


def mirrored(target: TrackedFace, model: MorphableModel) -> Pair | None:
    """The photo from the face's other side, for which its mirror image stands: of use where the head is turned.

    Hair and clothes are not symmetric, so only the face counts.

    Returns:
        None where the head looks ahead, and where the mirrored face is not found.
    """
    if abs(float(target.parameters.head[0, 0])) < ASIDE:
        return None
    face = found(Photo(np.ascontiguousarray(target.photo.pixels[:, ::-1])), model)
    if face is None:
        return None
    weight = _region(target, model, "face", "eyes")
    return replace(real(face, target, model), weight=cv2.GaussianBlur(weight, (0, 0), 2))


def real(source: TrackedFace, target: TrackedFace, model: MorphableModel) -> Pair:
    """Another photo of the same person, carried into the target's view.

    What the photos do not share, background and clothes, does not count.

    Args:
        source: the person in one photo.
        target: the person in another photo of the same size and focal length.
        model: the face model of both.
    """
    parameters = returned(source, target)
    frame, shape = target.frame, target.photo.pixels.shape
    weight = _over_photo(target.matte.person - target.matte.clothes, frame, shape, 0.0)
    return Pair(target, draft(source, parameters, model), source, parameters, weight=weight)


def rendered(
    target: TrackedFace, model: MorphableModel, random: np.random.Generator, options: DataConfig
) -> Pair | None:
    """Two renderings of the face, without hair, under poses, expressions and lights that photos lack.

    The first one is tracked as if it were a photo and carried into the view of the second. Only the face counts.

    Returns:
        None where the face is not found in the first one.
    """
    plain = target.parameters.replace(head=0 * target.parameters.head)
    wide = options.model_copy(update={"turn": 1.5 * options.turn, "nod": 1.5 * options.nod, "light": 1.0})
    first, second = (apply(random_edit(random, o), plain, model) for o in (options, wide))
    face = found(Photo(_painted(target, first, model)), model)
    if face is None:
        return None
    truth = replace(target, photo=Photo(_painted(target, second, model)), parameters=second)
    parameters = returned(face, truth)
    weight = _region(truth, model, "face", "eyes", "ears", "neck")
    return Pair(truth, draft(face, parameters, model), face, parameters, weight=weight)


def returned(face: TrackedFace, target: TrackedFace) -> FaceParameters:
    """The parameters of the edit that carries ``face`` into the view of ``target``."""
    return face.parameters.replace(**{name: getattr(target.parameters, name) for name in RETURNED})


def found(photo: Photo, model: MorphableModel) -> TrackedFace | None:
    """The largest face of a photo."""
    found = face_model(model.name)[1](photo, faces=1)
    return found[0] if found else None


def _region(face: TrackedFace, model: MorphableModel, *regions: str) -> NDArray[np.float32]:
    """(H, W) float32 over the photo: 1 where one of the face model's regions is seen."""
    return seen_region(model, face.parameters, face.camera, *regions).astype(np.float32)


def _painted(face: TrackedFace, parameters: FaceParameters, model: MorphableModel) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 rendering of the face before what is left of its photo after a strong blur."""
    maps = render_maps(model, parameters, face.camera)
    blurred = cv2.GaussianBlur(face.photo.pixels, (0, 0), 0.1 * max(face.photo.pixels.shape[:2]))
    alpha = maps.mask[..., None]
    return np.rint(pixels_from_linear(maps.rendering) * alpha + blurred * (1 - alpha)).astype(np.uint8)


def carried(
    values: NDArray[np.float32], face: TrackedFace, parameters: FaceParameters, model: MorphableModel
) -> NDArray[np.float32]:
    """Carries numbers over a photo along with the head, by the face model's surface and, beside it, the nearest of it.

    Args:
        values: (H, W) over the photo.
        face: the face in it.
        parameters: the view that it is carried into.
        model: the face model.

    Returns:
        (h, w) float32 over the face's frame.
    """
    camera = face.frame_camera
    raster = render_maps(model, parameters, camera).raster
    before = np.asarray(camera.project(model.vertices(face.parameters)[0]))[:, :2]
    source = interpolate(raster, np.asarray(model.faces), before)  # (h, w, 2), where each pixel comes from
    away = (~raster.covered).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    y, x = np.mgrid[: camera.height, : camera.width].astype(np.float32) + 0.5
    shift = source - np.stack([x, y], -1)
    nearest = np.zeros((labels.max() + 1, 2), np.float32)
    nearest[labels[raster.covered]] = shift[raster.covered]
    shift = np.where(raster.covered[..., None], shift, nearest[labels])
    f = face.frame
    at = (shift + np.stack([x, y], -1) + (f.x - 0.5, f.y - 0.5)).astype(np.float32)
    return cv2.remap(values.astype(np.float32), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def random_edit(random: np.random.Generator, options: DataConfig, yaw: float = 0.0) -> Edit:
    """An edit as users ask for: a turned head, sometimes with another expression or in another light.

    Args:
        random: decides all.
        options: ranges and shares.
        yaw: degrees, how the head is turned before.
    """
    turn, nod, tilt = (float(random.uniform(-r, r)) for r in (options.turn, options.nod, options.tilt))
    if abs(yaw) > ASIDE and random.random() < options.to_front:
        turn = -yaw * float(random.uniform(*TO_FRONT))
    expression = _random_expression(random) if random.random() < options.expression else {}
    light = _random_light(random) if random.random() < options.light else None
    return Edit(turn=turn, nod=nod, tilt=tilt, expression=expression, light=light)


def _random_expression(random: np.random.Generator) -> dict[str, float]:
    """Every second time a neutral face: a mouth that was closed is opened on the way back, over teeth really seen."""
    if random.random() < 0.5:
        return {NEUTRAL: 1.0}
    name, strength = str(random.choice(sorted(EXPRESSIONS))), random.uniform(0.3, 1)
    return {key: float(value * strength) for key, value in EXPRESSIONS[name].items()}


def _random_light(random: np.random.Generator) -> Light:
    azimuth, elevation = random.uniform(-90, 90), random.uniform(-30, 70)
    return Light(azimuth, elevation, strength=random.uniform(0.7, 1.3), ambient=random.uniform(0.2, 0.7))


def _over_photo(
    values: NDArray[np.float32], frame: Frame, shape: tuple[int, ...], outside: float
) -> NDArray[np.float32]:
    """(H, W) over the whole photo of what is known over a frame of it, at whatever resolution."""
    out = np.full(shape[:2], outside, np.float32)
    values = cv2.resize(values, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    out[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width] = values
    return out
