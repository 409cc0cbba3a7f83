"""A small image autoencoder: a linear code of patches, and convolutions that learn what it misses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from instaface.diffusion.light.autoencoder import PATCH, AutoencoderLayers

TILE, MARGIN = 64, 16  # pixels of the latent: side of a tile, and what it sees around itself


class Autoencoder(AutoencoderLayers, ModelMixin, ConfigMixin):
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

    config: Any
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
        super().__init__(latent_channels, widths, decoder_widths, encoder_layers, decoder_layers)
        self.use_tiling = False

    def enable_tiling(self) -> None:
        """Works on tiles from now on. They overlap by more than the convolutions see, so results stay the same."""
        self.use_tiling = True

    def disable_tiling(self) -> None:
        """Works on whole pictures again."""
        self.use_tiling = False

    def _encode(self, pictures: Tensor) -> Tensor:
        whole = super()._encode
        return in_tiles(whole, pictures, PATCH, 1) if self.use_tiling else whole(pictures)

    def _decode(self, code: Tensor) -> Tensor:
        whole = super()._decode
        return in_tiles(whole, code, 1, PATCH) if self.use_tiling else whole(code)

    def encode(self, pictures: Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Tensor]:
        """(B, 3, H, W) in -1..1, sides multiples of 8, to (B, C, H/8, W/8) of about zero mean and unit variance."""
        latents = self.to_latents(pictures)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, latents: Tensor, return_dict: bool = True, **_: object) -> DecoderOutput | tuple[Tensor]:
        """(B, C, h, w) to (B, 3, 8h, 8w), about -1..1, not clamped."""
        sample = self.to_pictures(latents)
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


def _set(convolution: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    convolution.load_state_dict({"weight": matrix[:, :, None, None], "bias": bias})
