"""The adversarial loss: what a model of one step invents shall be told from photos by no small network either.

An error against one photo asks for the median of all that could be there, which has no grain, no strands and no teeth.
A discriminator on latents (Sauer et al. 2024, latent adversarial diffusion distillation) costs a small part of what the
networks do, as nothing is decoded; it looks at patches (Isola et al. 2017), with the hinge loss (Lim and Ye 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class AdversarialLosses(NamedTuple):
    """Scalars: what the networks minimise to deceive the discriminator, and what it does to tell pictures apart."""

    deceiving: Tensor
    telling: Tensor


class PatchDiscriminator(nn.Module):
    """Scores of overlapping patches of 10 x 10 latent cells, of which it is told what the camera saw.

    Args:
        channels: of the latents.
        width: of the first layer.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(channels + 1, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 2 * width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 1, 1)),
        )

    def forward(self, latents: Tensor, coverage: Tensor) -> Tensor:
        """(B, C, h, w) latents and (B, 1, h, w) coverage to (B, 1, h / 2, w / 2) scores, high for photos."""
        return self.layers(torch.cat([latents, coverage], 1))


def adversarial_losses(
    discriminator: PatchDiscriminator, made: Tensor, photo: Tensor, coverage: Tensor, weight: Tensor
) -> AdversarialLosses:
    """Hinge losses where the camera did not see; where it did, both pictures are the photo.

    The two are minimised together: each has gradients for its own weights alone.

    Args:
        discriminator: of patches.
        made: (B, C, h, w) clean latents that the networks predict.
        photo: (B, C, h, w) those of the photo.
        coverage: (B, 1, h, w), 1 where the camera saw the surface.
        weight: (B, 1, h, w), how much each place counts besides.
    """
    made = coverage * photo + (1 - coverage) * made
    unseen = F.avg_pool2d((1 - coverage) * weight, 2)  # (B, 1, h / 2, w / 2), as the scores
    real, false = (discriminator(picture, coverage) for picture in (photo, made.detach()))
    telling = (unseen * (F.relu(1 - real) + F.relu(1 + false))).mean()
    discriminator.requires_grad_(False)
    deceiving = -(unseen * discriminator(made, coverage)).mean()
    discriminator.requires_grad_(True)
    return AdversarialLosses(deceiving, telling)
