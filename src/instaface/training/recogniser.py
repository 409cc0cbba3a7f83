"""A small differentiable recogniser, distilled from one that is not."""

from __future__ import annotations

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F


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
