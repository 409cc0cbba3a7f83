"""Options of a training run: read from YAML, checked, unknown ones refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from instaface.diffusion.config import ModelConfig
from instaface.errors import InstaFaceError

StageName = Literal["autoencoder", "1", "2"]


class Options(BaseModel):
    """A group of options that refuses names it does not know."""

    model_config = ConfigDict(extra="forbid")


class StageConfig(Options):
    """What every stage needs to be told.

    Attributes:
        steps: updates of the weights.
        batch: pictures for one update, over all processes.
        micro_batch: pictures that one process holds at once; ``batch`` is reached by accumulating gradients.
        learning_rate: of AdamW, after the warm-up.
        warmup_steps: updates over which the learning rate rises from 0.
        betas: of AdamW; networks that learn against each other need a smaller first one.
        schedule: what it does after that.
        weight_decay: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        ema_decay: of the moving average of the weights, which is what a run exports.
        mixed_precision: arithmetic of the networks.
        gradient_checkpointing: trade time for memory in the U-Nets.
        checkpoint_steps: updates between two checkpoints.
        keep: how many checkpoints stay, not counting the best model.
        validation_steps: updates between two validations.
        validation_samples: how many samples a validation looks at.
        sheet: how many validation edits are drawn at each validation.
        workers: processes that prepare data, for each process that trains; 0 for none.
        seed: of everything random.
    """

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    micro_batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(1000, ge=1)
    keep: int = Field(2, ge=1)
    validation_steps: int = Field(1000, ge=1)
    validation_samples: int = Field(16, ge=1)
    sheet: int = Field(4, ge=0)
    workers: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _no_is_a_word(cls, value: Any) -> Any:
        """In YAML a bare ``no`` is false."""
        return "no" if value is False else value


class AutoencoderStageConfig(StageConfig):
    """The image autoencoder learns to reconstruct.

    Attributes:
        crop: side in pixels of the squares that it learns from.
        synthetic: share of the samples that look like maps rather than like photos.
        laplacian_weight: weight of the error of the picture's Laplacian against that of the picture.
        energy_weight: the same of the error of the Laplacian's local amplitude. Detail of which the latent says too
            little to place it is lost without: the mean of all that it could be is smooth.
        decoder_only: the encoder stays as it is, and so does all that was trained on its latents; needs ``--init``.
        latent_noise: deviation of the noise added to the latent, so that close codes mean close pictures.
    """

    crop: int = Field(256, ge=16, multiple_of=16)
    synthetic: float = Field(0.15, ge=0, le=1)
    laplacian_weight: float = Field(0.05, ge=0)
    energy_weight: float = Field(0.0, ge=0)
    decoder_only: bool = False
    latent_noise: float = Field(0.0, ge=0)


class DiffusionStageConfig(StageConfig):
    """The networks learn to denoise under maps and tokens.

    Attributes:
        snr_gamma: of the min-SNR weighting (Hang et al. 2023), or None for equal weights.
        timesteps: the range of noise levels that is trained; one number twice makes a one-step model.
        start: what the noise is added to: the ``photo`` that shall come out, as diffusion models are trained, or the
            ``draft``, which a model of few steps starts from when it is used.
        noise: factor on that noise, as the model's own.
        crop: side in pixels of the squares that it learns from, mostly where something is not seen; None for whole
            pictures. The networks are convolutional: a square of a quarter of the area costs a quarter.
        error: ``squared``, as diffusion models are trained, or ``absolute``: a model of one step that minimises squares
            answers what cannot be known with the mean of all that it could be, a shadow around every head; the
            median keeps to what is likely.
        seen_weight: how much the error counts outside of the region that a draft is worked over in, against 1 inside.
        drop_map: probability that a map is left out, for each of them.
        drop_maps: probability that all are.
        drop_identity: probability that the identity tokens are.
        cache_latents: encode samples that were made in advance once, and keep their latents in the run's folder.
        train_vision: whether the vision encoder learns along (it stays frozen where it came pre-trained).
        identity_weight: weight of the identity loss on the predicted clean picture; 0 for none.
        recogniser: folder of the differentiable recogniser of that loss, or None.
        perceptual_weight: weight of the difference of a pre-trained network's features between what is made and the
            photo; 0 for none.
        adversarial_weight: weight of deceiving small networks that learn to tell what is made from photos by these
            features; 0 for none.
        detail_weight: weight of the difference in how much detail there is; 0 for none.
        grid_weight: weight of edges along the borders of the autoencoder's patches, and of what is the same in all of
            them; 0 for none. All four are for models of one step, which an error alone makes smooth.
        window: side in pixels of the squares of the crop that these four look at.
        train_decoder: let the autoencoder's decoder learn along, from these four.
        decoder_weight: with it, weight of its error in giving back drafts; the four look at differences of two decoded
            pictures, in which what it does wrong to both is lost.
    """

    snr_gamma: float | None = 5.0
    timesteps: tuple[int, int] = (0, 999)
    start: Literal["photo", "draft"] = "photo"
    noise: float = Field(1.0, ge=0, le=1)
    crop: int | None = Field(None, ge=64, multiple_of=32)
    error: Literal["squared", "absolute"] = "squared"
    seen_weight: float = Field(1.0, ge=0, le=1)
    drop_map: float = Field(0.1, ge=0, le=1)
    drop_maps: float = Field(0.1, ge=0, le=1)
    drop_identity: float = Field(0.1, ge=0, le=1)
    cache_latents: bool = False
    train_vision: bool = False
    identity_weight: float = Field(0.0, ge=0)
    recogniser: Path | None = None
    adversarial_weight: float = Field(0.0, ge=0)
    perceptual_weight: float = Field(0.0, ge=0)
    detail_weight: float = Field(0.0, ge=0)
    grid_weight: float = Field(0.0, ge=0)
    train_decoder: bool = False
    decoder_weight: float = Field(5.0, ge=0)
    window: int = Field(128, ge=64, multiple_of=32)


class PersonalizeConfig(DiffusionStageConfig):
    """A small adapter learns one person.

    Attributes:
        rank: of the LoRA matrices.
        prior_weight: weight of staying what the model was where the identity tokens are dropped.
    """

    rank: int = Field(8, ge=1)
    prior_weight: float = Field(0.5, ge=0)


class DataConfig(Options):
    """Pairs of photos and conditions, made while training.

    Attributes:
        pairs: kind of pair to its share, up to a factor; where a kind cannot be made of a photo, plain
            reconstruction takes its place.
        turn: random edits turn the head by up to so many degrees to either side.
        nod: the same up and down.
        tilt: the same in the picture's plane.
        to_front: share of those of heads turned aside that bring them to the front. The way back then uncovers what
            an edit of a head that looks ahead uncovers, and the photo shows what is really there.
        expression: share of them that change the expression too.
        light: share of them that change the light too.
        other_camera: share of the photos that are seen as by another camera: in other colours, softer or sharpened,
            with grain, compressed.
        other_background: share of the photos that are put before another photo's background.
        other_hair: share of them that get another person's hair over their own.
        held_before: share of them that get something before the face.
        device_maps: render normals, albedo and rendering in batches where the networks train, and not one by one
            where the pairs are made; None for yes if there is a CUDA device.
        mirrored: share of the samples made in advance that are drawn as in a mirror.
        balance_by: label whose groups are balanced.
        balance: 1 draws each photo equally often, 0 each group.
    """

    pairs: dict[Literal["reconstruction", "there_and_back", "holes", "mirrored", "real", "rendered"], float] = {
        "reconstruction": 1,
        "there_and_back": 4,
        "holes": 1,
        "mirrored": 0.5,
        "rendered": 0.5,
    }
    turn: float = Field(default=35, ge=0)
    nod: float = Field(default=18, ge=0)
    tilt: float = Field(default=12, ge=0)
    to_front: float = Field(default=0.0, ge=0, le=1)
    expression: float = Field(default=0.4, ge=0, le=1)
    light: float = Field(default=0.25, ge=0, le=1)
    other_camera: float = Field(default=0.5, ge=0, le=1)
    other_background: float = Field(default=0.2, ge=0, le=1)
    other_hair: float = Field(default=0.1, ge=0, le=1)
    held_before: float = Field(default=0.1, ge=0, le=1)
    device_maps: bool | None = None
    mirrored: float = Field(default=0.0, ge=0, le=1)
    balance_by: str = "group"
    balance: float = Field(default=0.5, ge=0, le=1)


class TrainingConfig(Options):
    """One file: the model, its data, and how each stage trains it."""

    model: ModelConfig
    data: DataConfig = DataConfig()
    autoencoder: AutoencoderStageConfig | None = None
    stage1: DiffusionStageConfig | None = None
    stage2: DiffusionStageConfig | None = None
    personalize: PersonalizeConfig | None = None

    def stage(self, name: StageName) -> StageConfig:
        """Options of a stage. Raises InstaFaceError where the file has none for it."""
        key = name if name == "autoencoder" else f"stage{name}"
        options = getattr(self, key)
        if options is None:
            raise InstaFaceError(f"the config has no section {key!r}: add it to train stage {name}")
        return options


def load_config(path: Path, changes: dict[str, Any] | None = None) -> TrainingConfig:
    """Reads a config file.

    Args:
        path: YAML file.
        changes: values that replace the file's, by dotted name: ``{"stage1.steps": 10}``.

    Raises:
        InstaFaceError: the file is not there or not YAML, or an option is unknown or out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InstaFaceError(f"config {path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise InstaFaceError(f"config {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InstaFaceError(f"config {path} holds no options")
    for name, value in (changes or {}).items():
        *groups, last = name.split(".")
        group = values
        for key in groups:
            group = group.setdefault(key, {})
        group[last] = value
    try:
        return TrainingConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InstaFaceError(f"config {path}: {place}: {first['msg']}") from error


def dump_config(config: BaseModel) -> str:
    """All options with their values, defaults included, as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
