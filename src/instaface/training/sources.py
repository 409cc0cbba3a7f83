"""Where a stage's samples come from."""

from __future__ import annotations

from pathlib import Path

from instaface.errors import InstaFaceError
from instaface.training.config import StageName, TrainingConfig
from instaface.training.draws import Source
from instaface.training.pictures import PictureCrops, picture_files


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
    raise InstaFaceError(f"data {data}: no dataset in it; make one with instaface prepare")
