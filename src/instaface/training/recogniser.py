"""A small differentiable recogniser, distilled from one that is not."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from pydantic import Field
from rich.console import Console
from rich.progress import track as progress
from torch import Tensor, nn
from torch.nn import functional as F

from instaface.training.config import Options
from instaface.training.draws import DrawBatches, Draws, Source, fixed_batch, loader


class SmallRecogniser(ModelMixin, ConfigMixin):
    """Embeds the face in the middle of an aligned picture, as the recogniser that it was distilled from would.

    It serves the identity loss alone; what trains a model is not what judges it.

    Args:
        dimension: length of the embedding.
        size: side in pixels to which pictures are resized.
        widths: channels of the levels, each half as large as the one before.
    """

    @register_to_config
    def __init__(
        self, dimension: int = 128, size: int = 112, widths: tuple[int, ...] = (32, 64, 128, 192, 256)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for width in widths:
            layers += [nn.Conv2d(previous, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            previous = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(previous, dimension)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) in -1..1 to (B, dimension) of length 1."""
        size = self.config["size"]
        small = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
        return F.normalize(self.head(self.features(small).mean((2, 3))), dim=-1)


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine distance to the teacher's embeddings, plus the error of the similarities between pictures.

    Args:
        student: (B, F) of length 1.
        teacher: (B, F) of any length.
    """
    teacher = F.normalize(teacher, dim=-1)
    return (1 - (student * teacher).sum(-1)).mean() + (student @ student.T - teacher @ teacher.T).square().mean()


class DistillConfig(Options):
    """How a recogniser is distilled.

    Attributes:
        steps: updates.
        batch: pictures for one update.
        learning_rate: of AdamW, falling to 0 along a cosine.
        dimension: length of the teacher's embedding.
        size: side of the pictures that the student sees.
        widths: channels of its levels.
        workers: processes that prepare data.
        seed: of everything random.
    """

    steps: int = Field(20000, ge=1)
    batch: int = Field(64, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    dimension: int = Field(128, ge=1)
    size: int = Field(112, ge=16)
    widths: tuple[int, ...] = (32, 64, 128, 192, 256)
    workers: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)


def distill(source: Source, validation: Source, options: DistillConfig, output: Path) -> dict[str, float]:
    """Trains a student on a teacher's embeddings and saves it.

    Args:
        source: samples with ``photo`` (3, S, S) and ``face`` (F,), the teacher's embedding of it.
        validation: the same, of other people.
        options: of the student and its training.
        output: folder of the student.

    Returns:
        Mean cosine similarity to the teacher on validation samples, ``similarity_at_first`` and ``similarity``.
    """
    accelerator = Accelerator()
    torch.manual_seed(options.seed)
    student = SmallRecogniser(options.dimension, options.size, options.widths)
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    model, optimizer = accelerator.prepare(student, optimizer)
    held_out = {name: value.to(accelerator.device) for name, value in fixed_batch(validation, 64).items()}

    @torch.no_grad()
    def similarity() -> float:
        return float(F.cosine_similarity(model(held_out["photo"]), held_out["face"]).mean())

    first = similarity()
    batches = DrawBatches(0, options.steps, options.batch, options.batch)
    data = loader(Draws(source, options.seed, getattr(source, "weights", None)), batches, options.workers)
    for batch in progress(data, "Distilling", total=options.steps, console=Console(stderr=True)):
        photo, face = (batch[name].to(accelerator.device) for name in ("photo", "face"))
        loss = distillation_loss(model(photo), face)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    accelerator.unwrap_model(model).save_pretrained(output)
    return {"similarity_at_first": first, "similarity": similarity()}
