"""Where a stage's samples come from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from instaface.diffusion.conditions import picture
from instaface.errors import InstaFaceError
from instaface.training.config import DataConfig, StageName, TrainingConfig
from instaface.training.draws import Source
from instaface.training.pictures import PictureCrops, picture_files
from instaface.training.shards import TRAINING, VALIDATION, Shards


def sources(stage: StageName, config: TrainingConfig, data: Path) -> tuple[Source, Source]:
    """Training and validation samples of a stage.

    Args:
        stage: which stage.
        config: its options.
        data: a folder of photos for the autoencoder, a prepared dataset for the others.

    Raises:
        InstaFaceError: there is nothing to learn from.
    """
    config.stage(stage)
    if stage == "autoencoder":
        assert config.autoencoder is not None
        options = config.autoencoder
        photos = PictureCrops(picture_files(data, validation=False), options.crop, options.synthetic)
        return photos, PictureCrops(picture_files(data, validation=True), None)
    from instaface.training.pair_source import OUR_CONVENTION, Pairs

    shards = Shards(data)
    training, validation = shards.numbers(TRAINING), shards.numbers(VALIDATION)
    if "photo.jpg" in shards.rows[0]["files"]:
        if config.data.mirrored and config.model.convention != OUR_CONVENTION:
            coded = config.model.convention
            raise InstaFaceError(f"data.mirrored turns normals of {OUR_CONVENTION!r}, not of {coded!r}: set it to 0")
        as_they_are = config.data.model_copy(update={"mirrored": 0.0})
        return _made_in_advance(shards, training, config.data), _made_in_advance(shards, validation, as_they_are)
    model = config.model.size, config.model.recogniser, config.model.convention
    edits_only = config.data.model_copy(update={"pairs": {"there_and_back": 1.0}})
    return Pairs(shards, training, config.data, *model), Pairs(shards, validation, edits_only, *model)


def _made_in_advance(shards: Shards, numbers: list[int], options: DataConfig) -> Source:
    """Samples of ``instaface pairs``."""
    from instaface.training.pair_source import group_weights
    from instaface.training.samples import Samples

    rows = [shards.rows[n] for n in numbers]
    return Samples(shards.folder, rows, group_weights(rows, options), options.mirrored)


class Embedded:
    """Photos of a dataset with the embeddings that were stored with them, for distilling a recogniser.

    Args:
        shards: the dataset.
        numbers: which of its faces.
        recogniser: whose embeddings.
        size: side of the pictures.
    """

    def __init__(self, shards: Shards, numbers: list[int], recogniser: str, size: int) -> None:
        self.shards, self.numbers, self.recogniser, self.size = shards, numbers, recogniser, size

    def __len__(self) -> int:
        return len(self.numbers)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Tensor]:
        """``photo`` (3, S, S) in -1..1, mirrored or not, and ``face`` (F,)."""
        prepared = self.shards[self.numbers[index]]
        if self.recogniser not in prepared.embeddings:
            stored = ", ".join(prepared.embeddings)
            raise InstaFaceError(
                f"data {self.shards.folder}: no embeddings of {self.recogniser!r}, stored are {stored}"
            )
        pixels = cv2.resize(prepared.face.photo.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)
        photo = torch.from_numpy(picture(pixels))
        face = torch.from_numpy(prepared.embeddings[self.recogniser])
        return {"photo": photo.flip(-1) if random.random() < 0.5 else photo, "face": face}


def embedded(data: Path, recogniser: str, size: int) -> tuple[Embedded, Embedded]:
    """Training and validation samples for distilling ``recogniser``."""
    shards = Shards(data)
    training, validation = shards.numbers(TRAINING), shards.numbers(VALIDATION)
    return Embedded(shards, training, recogniser, size), Embedded(shards, validation, recogniser, size)
