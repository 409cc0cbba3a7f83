"""The layers of the image autoencoder, in PyTorch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 8  # pixels of the picture for each pixel of the latent, along one side


class AutoencoderLayers(nn.Module):
    """What :class:`~instaface.diffusion.autoencoder.Autoencoder` computes, which says what the arguments are."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(
        self,
        latent_channels: int,
        widths: tuple[int, int],
        decoder_widths: tuple[int, int],
        encoder_layers: tuple[int, int],
        decoder_layers: tuple[int, int],
    ) -> None:
        super().__init__()
        self.linear_encoder = nn.Conv2d(3 * PATCH**2, latent_channels, 1)
        self.linear_decoder = nn.Conv2d(latent_channels, 3 * PATCH**2, 1)
        fine, coarse = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(3 * 16, fine, 3, padding=1),
            *[ResidualBlock(fine) for _ in range(encoder_layers[0])],
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            *[ResidualBlock(coarse) for _ in range(encoder_layers[1])],
            nn.SiLU(),
            _zero(nn.Conv2d(coarse, latent_channels, 3, padding=1)),
        )
        fine, coarse = decoder_widths
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *[ResidualBlock(coarse) for _ in range(decoder_layers[1])],
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *[ResidualBlock(fine) for _ in range(decoder_layers[0])],
            nn.SiLU(),
            _zero(nn.Conv2d(fine, 3 * 16, 3, padding=1)),
            nn.PixelShuffle(4),
        )
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))

    def to_latents(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in -1..1, sides multiples of 8, to (B, C, H/8, W/8) of about zero mean and unit variance."""
        return (self._encode(pictures) - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def to_pictures(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 3, 8h, 8w), about -1..1, not clamped."""
        return self._decode(latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None])

    def _encode(self, pictures: Tensor) -> Tensor:
        return self.linear_encoder(F.pixel_unshuffle(pictures, PATCH)) + self.encoder(pictures)

    def _decode(self, code: Tensor) -> Tensor:
        return F.pixel_shuffle(self.linear_decoder(code), PATCH) + self.decoder(code)


class ResidualBlock(nn.Module):
    """x + f(x) with two 3 x 3 convolutions, no normalisation; f starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
