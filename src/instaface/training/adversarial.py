"""The adversarial loss: what a model of one step invents shall not be told from photos by small networks either.

An error against one photo asks for the median of all that could be there, which has no grain, no strands and no teeth.
The discriminators look at random mixtures of a pre-trained network's features (Projected GANs, Sauer et al. 2021), so
that they need not learn to see first: they know hair from skin from the first update on. Each looks at patches
(Isola et al. 2017) of one size, with the hinge loss (Lim and Ye 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from instaface.training.features import WIDTHS, weighted_mean

MIXED = 64  # channels of the mixtures
COLUMNS = 128  # width of the discriminators


class AdversarialLosses(NamedTuple):
    """Scalars: what the networks minimise to deceive the discriminators, and what these do to tell pictures apart."""

    deceiving: Tensor
    telling: Tensor


class ProjectedDiscriminator(nn.Module):
    """One small network for each size of features, on random mixtures over channels and sizes that stay as they are.

    Args:
        widths: channels of the features, finest first.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.channels = nn.ModuleList(nn.Conv2d(width, MIXED, 1) for width in widths)
        self.sizes = nn.ModuleList(nn.Conv2d(MIXED, MIXED, 3, padding=1) for _ in widths[1:])
        self.judges = nn.ModuleList(_judge() for _ in widths)
        for mixture in (*self.channels, *self.sizes):
            nn.init.kaiming_normal_(mixture.weight, nonlinearity="linear")
        self.hold()

    def hold(self, held: bool = False) -> None:
        """Lets the judges learn, or holds them; the mixtures never learn."""
        self.requires_grad_(False)
        self.judges.requires_grad_(not held)

    def forward(self, features: list[Tensor], region: Tensor) -> list[Tensor]:
        """Features of each size and the (B, 1, H, W) region in question to one (B, 1, h, w) of scores for each size.

        High for photos.
        """
        mixed = [mix(f) for mix, f in zip(self.channels, features, strict=True)]
        for k in reversed(range(len(self.sizes))):
            coarser = F.interpolate(mixed[k + 1], mixed[k].shape[-2:], mode="bilinear")
            mixed[k] = self.sizes[k]((mixed[k] + coarser) * 0.5**0.5)
        told = [F.adaptive_avg_pool2d(region, m.shape[-2:]) for m in mixed]
        return [judge(torch.cat([m, t], 1)) for judge, m, t in zip(self.judges, mixed, told, strict=True)]


def _judge() -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(MIXED + 1, COLUMNS, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(COLUMNS, COLUMNS, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(COLUMNS, 1, 1)),
    )


def adversarial_losses(
    discriminator: ProjectedDiscriminator, made: list[Tensor], photo: list[Tensor], region: Tensor
) -> AdversarialLosses:
    """Hinge losses in a region; elsewhere both pictures are the photo.

    The two are minimised together: each has gradients for its own weights alone.

    Args:
        discriminator: of features.
        made: features of the pictures with what the networks make in the region.
        photo: features of the photos.
        region: (B, 1, H, W), how much each place of the pictures counts.
    """
    real = discriminator([f.detach() for f in photo], region)
    false = discriminator([f.detach() for f in made], region)
    telling = _mean([F.relu(1 - a) + F.relu(1 + b) for a, b in zip(real, false, strict=True)], region)
    discriminator.hold(True)
    deceiving = _mean([-scores for scores in discriminator(made, region)], region)
    discriminator.hold(False)
    return AdversarialLosses(deceiving, telling)


def _mean(values: list[Tensor], region: Tensor) -> Tensor:
    return torch.stack([weighted_mean(v.float(), region) for v in values]).mean()
