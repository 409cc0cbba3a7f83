"""A small image autoencoder: a linear code of patches, and convolutions that learn what it misses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

TILE, MARGIN = 64, 16  # pixels of the latent: side of a tile, and what it sees around itself
PATCH = 8  # pixels of the picture for each pixel of the latent, along one side


class Autoencoder(ModelMixin, ConfigMixin):
    """Encodes 8 x 8 patches to ``latent_channels`` numbers; called as diffusers' ``AutoencoderTiny``.

    Each half is a linear map between a patch and its code, plus a convolutional network that starts at zero: with the
    patches' principal components as linear map (:meth:`set_linear`) training starts at their quality. Most of
    the convolutions work at an eighth of the picture's size, a few at a quarter, none at full size.

    Args:
        latent_channels: channels of the latent.
        widths: channels of the convolutions at a quarter and at an eighth of the picture's size.
        encoder_layers: residual blocks at a quarter and at an eighth.
        decoder_layers: the same of the decoder.
        decoder_widths: the same as ``widths``, of the decoder.
        scaling_factor: factor on the latent after encoding (the latent is normalised, so 1).
    """

    _supports_gradient_checkpointing = False
    spatial_compression_ratio = PATCH

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        widths: tuple[int, int] = (48, 128),
        decoder_widths: tuple[int, int] = (64, 160),
        encoder_layers: tuple[int, int] = (1, 2),
        decoder_layers: tuple[int, int] = (2, 3),
        scaling_factor: float = 1.0,
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
        self.use_tiling = False
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))

    def enable_tiling(self) -> None:
        """Works on tiles from now on. They overlap by more than the convolutions see, so results stay the same."""
        self.use_tiling = True

    def disable_tiling(self) -> None:
        """Works on whole pictures again."""
        self.use_tiling = False

    def _encode(self, pictures: Tensor) -> Tensor:
        return self.linear_encoder(F.pixel_unshuffle(pictures, PATCH)) + self.encoder(pictures)

    def _decode(self, code: Tensor) -> Tensor:
        return F.pixel_shuffle(self.linear_decoder(code), PATCH) + self.decoder(code)

    def encode(self, pictures: Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Tensor]:
        """(B, 3, H, W) in -1..1, sides multiples of 8, to (B, C, H/8, W/8) of about zero mean and unit variance."""
        code = in_tiles(self._encode, pictures, PATCH, 1) if self.use_tiling else self._encode(pictures)
        latents = (code - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, latents: Tensor, return_dict: bool = True, **_: object) -> DecoderOutput | tuple[Tensor]:
        """(B, C, h, w) to (B, 3, 8h, 8w), about -1..1, not clamped."""
        code = latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        sample = in_tiles(self._decode, code, 1, PATCH) if self.use_tiling else self._decode(code)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def forward(self, pictures: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """There and back."""
        return self.decode(self.encode(pictures, return_dict=False)[0], return_dict)

    @torch.no_grad()
    def set_linear(self, pictures: Tensor) -> Tensor:
        """Sets the linear maps to the principal components of the pictures' patches, scaled to unit variance.

        Args:
            pictures: (N, 3, H, W) in -1..1, with many more patches than the 192 numbers of one.

        Returns:
            (192,) variances of all components, largest first; those that the code leaves out are its error.
        """
        patches = F.pixel_unshuffle(pictures, PATCH).movedim(1, -1).flatten(0, -2).double()
        mean = patches.mean(0)
        variances, components = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        variances, components = variances.flip(0), components.flip(1)
        n = self.config["latent_channels"]
        basis, std = components[:, :n], variances[:n].sqrt()
        _set(self.linear_encoder, (basis / std).T, -(mean @ basis) / std)
        _set(self.linear_decoder, basis * std, mean)
        return variances.float()

    @torch.no_grad()
    def set_normalization(self, pictures: Tensor) -> None:
        """Sets the latent's mean and deviation to those of ``pictures``; the round trip stays what it is."""
        latents = self.encode(pictures, return_dict=False)[0].float()
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        self.latent_mean += self.latent_std * mean.to(self.latent_mean)
        self.latent_std *= std.to(self.latent_std)


def in_tiles(function: Callable[[Tensor], Tensor], values: Tensor, scale_in: int, scale_out: int) -> Tensor:
    """Applies a local function tile by tile.

    Args:
        function: of pictures of any size.
        values: (B, C, H, W).
        scale_in: pixels of ``values`` for each pixel of the latent, along one side.
        scale_out: pixels of the result for each.
    """
    height, width = (side // scale_in for side in values.shape[2:])
    rows = []
    for top in range(0, height, TILE):
        row = []
        for left in range(0, width, TILE):
            y, x = max(0, top - MARGIN), max(0, left - MARGIN)
            bottom, right = min(height, top + TILE), min(width, left + TILE)
            done = function(_window(values, y, x, bottom + MARGIN, right + MARGIN, scale_in))
            row.append(_window(done, top - y, left - x, bottom - y, right - x, scale_out))
        rows.append(torch.cat(row, -1))
    return torch.cat(rows, -2)


def _window(values: Tensor, top: int, left: int, bottom: int, right: int, scale: int) -> Tensor:
    return values[..., top * scale : bottom * scale, left * scale : right * scale]


class ResidualBlock(nn.Module):
    """x + f(x) with two 3 x 3 convolutions, no normalisation; f starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def _set(convolution: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    convolution.load_state_dict({"weight": matrix[:, :, None, None], "bias": bias})


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
