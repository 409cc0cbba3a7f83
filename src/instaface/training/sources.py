"""Where a stage's samples come from."""

from __future__ import annotations

from pathlib import Path

from instaface.errors import InstaFaceError
from instaface.training.config import StageName, TrainingConfig
from instaface.training.draws import Source
from instaface.training.pictures import VALIDATION_EVERY, PictureCrops, picture_files
from instaface.training.shards import Shards


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
    from instaface.training.pairs import Pairs

    shards = Shards(data)
    if len(shards) <= VALIDATION_EVERY:
        raise InstaFaceError(
            f"data {data}: {len(shards)} faces are too few, at least {VALIDATION_EVERY + 1} are needed"
        )
    numbers = range(len(shards))
    validation = [n for n in numbers if n % VALIDATION_EVERY == 0]
    training = [n for n in numbers if n % VALIDATION_EVERY]
    edits_only = config.data.model_copy(update={"pairs": {"there_and_back": 1.0}})
    model = config.model.size, config.model.recogniser, config.model.convention
    return Pairs(shards, training, config.data, *model), Pairs(shards, validation, edits_only, *model)
