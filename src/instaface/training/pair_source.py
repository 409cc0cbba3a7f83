"""Training pairs of a dataset, made while training, as the tensors that the stages take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instaface.diffusion.conditions import Canvas, conditions, picture
from instaface.diffusion.fusion import ALL_MAPS
from instaface.errors import InstaFaceError
from instaface.face import MorphableModel
from instaface.photo import Photo
from instaface.recognise import FaceRecogniser, load_recogniser
from instaface.track import Frame, TrackedFace
from instaface.track.models import face_model
from instaface.training.cameras import another_camera
from instaface.training.config import DataConfig
from instaface.training.device_maps import VIEW, view_of
from instaface.training.exchanges import held_before, other_background, other_hair
from instaface.training.pairs import (
    Pair,
    found,
    holes,
    mirrored,
    random_edit,
    real,
    reconstruction,
    rendered,
    there_and_back,
)
from instaface.training.shards import Shards


def group_weights(rows: Sequence[dict], options: DataConfig) -> NDArray[np.float64]:
    """How often each row of an index is drawn: groups count by the power ``balance`` of their size, 1 as they are."""
    groups = [row["labels"].get(options.balance_by, "") for row in rows]
    counts = Counter(groups)
    return np.array([counts[group] ** (options.balance - 1) for group in groups])


OUR_CONVENTION = "instaface"
FEW = 5  # faces of which one is chosen that is turned alike
PERSON = "person"  # the label that says whose photo it is


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
        convention: str = OUR_CONVENTION,
    ) -> None:
        self.shards, self.numbers, self.options = shards, numbers, options
        self.size, self.recogniser_name, self.convention = size, recogniser, convention
        wanted = torch.cuda.is_available() if options.device_maps is None else options.device_maps
        if options.device_maps and convention != OUR_CONVENTION:
            raise InstaFaceError(f"data.device_maps renders maps as {OUR_CONVENTION!r} codes them, not {convention!r}")
        self.device_maps = wanted and convention == OUR_CONVENTION
        self._photos_of: dict[str, list[int]] = defaultdict(list)  # by person, where a label says who it is
        for number in numbers:
            self._photos_of[shards.rows[number]["labels"].get(PERSON, "")].append(number)
        self._photos_of.pop("", None)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def face_model(self) -> str:
        """Name of the dataset's face model."""
        return self.shards[self.numbers[0]].face.model

    @property
    def weights(self) -> NDArray[np.float64]:
        """How often each face is drawn."""
        return group_weights([self.shards.rows[n] for n in self.numbers], self.options)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Any]:
        """A pair as tensors: see :class:`instaface.training.stages.DiffusionStage` for what is in it.

        With ``device_maps`` it has ``view`` in place of the face model's maps, for
        :class:`instaface.training.device_maps.DeviceMaps`.
        """
        return self.make(index, random, random)

    def make(self, index: int, random: np.random.Generator, augmenting: np.random.Generator | None) -> dict[str, Any]:
        """As :meth:`sample`; without ``augmenting`` the source stays as it is."""
        target = self.shards[self.numbers[index]].face
        model, _ = face_model(target.model)
        target = self._exchanged(target, model, random)
        if random.random() < self.options.other_camera:
            target = replace(target, photo=Photo(another_camera(target.photo.pixels, random)))
        pair = self._pair(index, target, model, random) or reconstruction(target)
        recogniser = load_recogniser(self.recogniser_name)
        return as_sample(pair, model, self.size, recogniser, augmenting, self.convention, self.device_maps)

    def _exchanged(self, face: TrackedFace, model: MorphableModel, random: np.random.Generator) -> TrackedFace:
        """The face with, some of the time, what surrounds it taken from other photos."""
        options = self.options
        hair, held, background = random.random(3) < (options.other_hair, options.held_before, options.other_background)
        if hair:
            face = found(other_hair(face, self._alike(face, random), model), model) or face
        if held:
            face = found(held_before(face, random), model) or face
        return other_background(face, self._any(random), model) if background else face

    def _any(self, random: np.random.Generator) -> TrackedFace:
        return self.shards[int(random.choice(self.numbers))].face

    def _alike(self, face: TrackedFace, random: np.random.Generator) -> TrackedFace:
        """Of a few faces the one that is turned most like this one."""
        few = [self._any(random) for _ in range(FEW)]
        return min(few, key=lambda other: float(np.abs(other.parameters.head - face.parameters.head).max()))

    def _pair(self, index: int, target: TrackedFace, model: MorphableModel, random: np.random.Generator) -> Pair | None:
        """A pair of a random kind; None for plain reconstruction, or where the kind drawn cannot be made."""
        kinds = self.options.pairs
        kind = random.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values()))
        if kind in ("there_and_back", "holes"):
            edit = random_edit(random, self.options, float(target.parameters.head[0, 0]))
            return (holes if kind == "holes" else there_and_back)(target, edit, model)
        if kind == "mirrored":
            return mirrored(target, model)
        if kind == "rendered":
            return rendered(target, model, random, self.options)
        others = self._others(self.numbers[index])
        if kind == "real" and others:
            # Both as they are: the network shall not change colours that the source has.
            source, plain = (self.shards[n].face for n in (int(random.choice(others)), self.numbers[index]))
            return real(source, plain, model)
        return None

    def _others(self, number: int) -> list[int]:
        """Other photos of the same person."""
        photos = self._photos_of.get(self.shards.rows[number]["labels"].get(PERSON, ""), [])
        return [other for other in photos if other != number]


def as_sample(
    pair: Pair,
    model: MorphableModel,
    size: int,
    recogniser: FaceRecogniser,
    random: np.random.Generator | None,
    convention: str = OUR_CONVENTION,
    device_maps: bool = False,
) -> dict[str, Any]:
    """A pair as tensors over a square canvas of ``size``; its source is an augmented copy of the carried face.

    Without ``random`` the source is not augmented; with ``device_maps`` the face model's maps are left to be rendered.
    """
    face = pair.drawn_face
    canvas = Canvas(*_square(face.frame, size))
    given = conditions(face, pair.drawn, pair.parameters, model, canvas, convention, not device_maps)
    left = {VIEW: view_of(pair.parameters, canvas.camera(face.frame_camera))} if device_maps else {}
    frame = face.frame
    photo = pair.target.photo.pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    whole = np.ones(pair.target.photo.pixels.shape[:2], np.float32) if pair.weight is None else pair.weight
    weight = canvas.put(whole[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width], 0.0)
    source = torch.from_numpy(given.source)
    embedding = recogniser.embed_face(face.photo.pixels, face.landmarks)
    return {
        **left,
        "photo": torch.from_numpy(picture(canvas.put(photo))),
        "maps": {name: torch.from_numpy(values) for name, values in given.maps.items()},
        "given": {name: torch.tensor(float(name in pair.given)) for name in ALL_MAPS},
        "draft": torch.from_numpy(given.draft),
        "region": torch.from_numpy(given.region),
        "weight": torch.from_numpy(np.ascontiguousarray(weight))[None],
        "source": source if random is None else augment(source[None], random)[0],
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
