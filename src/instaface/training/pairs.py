"""Training pairs: a person as the camera saw them, and the same person as the networks are given them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instaface.diffusion.conditions import Canvas, conditions, picture
from instaface.draft import Draft, draft
from instaface.edit import EXPRESSIONS, Edit
from instaface.edit.apply import apply
from instaface.face import FaceParameters, MorphableModel
from instaface.photo import composite
from instaface.recognise import FaceRecogniser, load_recogniser
from instaface.render import interpolate, render_maps
from instaface.track import Frame, TrackedFace
from instaface.track.models import face_model
from instaface.training.config import DataConfig
from instaface.training.shards import Shards

GREY = 127.5
KNOWN = 0.45  # coverage from which a pixel counts as known, as in the draft
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
    """

    target: TrackedFace
    drawn: Draft
    drawn_face: TrackedFace
    parameters: FaceParameters
    given: tuple[str, ...] = ("normals", "albedo", "rendering", "appearance", "coverage")


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
    _, find = face_model(model.name)
    found = find(replace(target.photo, pixels=pixels), faces=1)
    if not found:
        return None
    # 2. Back, with the new fit.
    face = found[0]
    parameters = face.parameters.replace(**{name: getattr(target.parameters, name) for name in RETURNED})
    back = draft(face, parameters, model)
    # 3. What was invented on the way there is not known now.
    invented = _over_photo(np.where(there.mask > 0, there.coverage, 1), target.frame, pixels.shape, 1.0)
    known = carried(invented, face, parameters, model)
    coverage = np.minimum(back.coverage, np.where(back.mask > 0, known, 1)).clip(0, 1)
    appearance = np.where(coverage[..., None] < KNOWN, GREY, back.appearance).astype(np.uint8)
    return Pair(target, replace(back, coverage=coverage, appearance=appearance), face, parameters)


def holes(target: TrackedFace, edit: Edit, model: MorphableModel) -> Pair | None:
    """The sharp photo with only the holes and the coverage of an edit there and back."""
    pair = there_and_back(target, edit, model)
    if pair is None:
        return None
    frame, known = pair.drawn_face.frame, (pair.drawn.coverage >= KNOWN)[..., None]
    sharp = target.photo.pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    appearance = np.where(known, sharp, GREY).astype(np.uint8)
    pixels = np.where(known, sharp, pair.drawn.pixels)
    return replace(pair, drawn=replace(pair.drawn, pixels=pixels, appearance=appearance))


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
    before = camera.project(model.vertices(face.parameters)[0]).numpy()[:, :2]
    source = interpolate(raster, model.faces.numpy(), before)  # (h, w, 2), where each pixel comes from
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


def random_edit(random: np.random.Generator, options: DataConfig) -> Edit:
    """An edit as users ask for: a turned head, sometimes with another expression."""
    turn, nod, tilt = (float(random.uniform(-r, r)) for r in (options.turn, options.nod, options.tilt))
    expression: dict[str, float] | None = None
    if random.random() < options.expression:
        name = str(random.choice(sorted(EXPRESSIONS)))
        strength = random.uniform(0.3, 1)
        expression = {key: float(value * strength) for key, value in EXPRESSIONS[name].items()}
    return Edit(turn=turn, nod=nod, tilt=tilt, expression=expression or {})


def group_weights(rows: Sequence[dict], options: DataConfig) -> NDArray[np.float64]:
    """How often each row of an index is drawn: groups count by the power ``balance`` of their size, 1 as they are."""
    groups = [row["labels"].get(options.balance_by, "") for row in rows]
    counts = Counter(groups)
    return np.array([counts[group] ** (options.balance - 1) for group in groups])


class Pairs:
    """Pairs of a dataset as samples of the stages that denoise.

    Args:
        shards: the dataset.
        numbers: which of its faces.
        options: kinds of pairs and their ranges.
        size: side of the network's pictures.
        recogniser: whose embeddings are the face tokens.
        convention: how the maps are coded.
    """

    def __init__(
        self,
        shards: Shards,
        numbers: list[int],
        options: DataConfig,
        size: int,
        recogniser: str,
        convention: str = "instaface",
    ) -> None:
        self.shards, self.numbers, self.options = shards, numbers, options
        self.size, self.recogniser_name, self.convention = size, recogniser, convention

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def weights(self) -> NDArray[np.float64]:
        """How often each face is drawn."""
        return group_weights([self.shards.rows[n] for n in self.numbers], self.options)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Any]:
        """A pair as tensors: see :class:`instaface.training.stages.DiffusionStage` for what is in it."""
        return self.make(index, random, random)

    def make(self, index: int, random: np.random.Generator, augmenting: np.random.Generator | None) -> dict[str, Any]:
        """As :meth:`sample`; without ``augmenting`` the source stays as it is."""
        target = self.shards[self.numbers[index]].face
        model, _ = face_model(target.model)
        kinds = self.options.pairs
        kind = random.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values()))
        edit = random_edit(random, self.options)
        pair = None
        if kind == "there_and_back":
            pair = there_and_back(target, edit, model)
        elif kind == "holes":
            pair = holes(target, edit, model)
        recogniser = load_recogniser(self.recogniser_name)
        return as_sample(pair or reconstruction(target), model, self.size, recogniser, augmenting, self.convention)


def as_sample(
    pair: Pair,
    model: MorphableModel,
    size: int,
    recogniser: FaceRecogniser,
    random: np.random.Generator | None,
    convention: str = "instaface",
) -> dict[str, Any]:
    """A pair as tensors over a square canvas of ``size``; its source is an augmented copy of the carried face.

    Without ``random`` the source is not augmented.
    """
    face = pair.drawn_face
    canvas = Canvas(*_square(face.frame, size))
    given = conditions(face, pair.drawn, pair.parameters, model, canvas, convention)
    frame = face.frame
    photo = pair.target.photo.pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    source = picture(canvas.put(face.frame_pixels))
    embedding = recogniser.embed_face(face.photo.pixels, face.landmarks)
    return {
        "photo": picture(canvas.put(photo))[0],
        "maps": {name: value[0].contiguous() for name, value in given.maps.items()},
        "given": {name: torch.tensor(float(name in pair.given)) for name in given.maps},
        "draft": given.draft[0],
        "coverage": given.coverage[0],
        "source": (source if random is None else augment(source, random))[0],
        "face": torch.from_numpy(embedding),
    }


def augment(source: Tensor, random: np.random.Generator) -> Tensor:
    """Another copy of a picture: moved, scaled, in other colours, softer. (1, 3, S, S) in -1..1, and so again."""
    scale, shift = random.uniform(0.9, 1.15), random.uniform(-0.06, 0.06, 2)
    flip = -1.0 if random.random() < 0.5 else 1.0
    theta = torch.tensor([[[flip / scale, 0.0, shift[0]], [0.0, 1 / scale, shift[1]]]], dtype=torch.float32)
    grid = torch.nn.functional.affine_grid(theta, list(source.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    gain = torch.tensor(random.uniform(0.85, 1.15) * random.uniform(0.95, 1.05, 3), dtype=torch.float32)
    bright = ((moved + 1) * gain[:, None, None] - 1).clamp(-1, 1)
    if random.random() < 0.3:
        small = torch.nn.functional.avg_pool2d(bright, 2)
        bright = torch.nn.functional.interpolate(small, source.shape[2:], mode="bilinear")
    return bright


def _square(frame: Frame, size: int) -> tuple[tuple[int, int], float, tuple[int, int]]:
    return (frame.width, frame.height), size / max(frame.width, frame.height), (size, size)


def _over_photo(
    values: NDArray[np.float32], frame: Frame, shape: tuple[int, ...], outside: float
) -> NDArray[np.float32]:
    out = np.full(shape[:2], outside, np.float32)
    out[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width] = values
    return out
