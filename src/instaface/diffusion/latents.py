"""Pictures to latents and back, for any autoencoder with diffusers' call contract."""

from __future__ import annotations

from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


def encode(autoencoder: ModelMixin, pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in -1..1 to (B, C, H/8, W/8) latents of about unit variance.

    The mode of the distribution is taken where the autoencoder is a variational one, so that a picture has one code.
    """
    output = autoencoder.encode(pictures.to(autoencoder.dtype))
    latents = output.latent_dist.mode() if hasattr(output, "latent_dist") else output.latents
    return (latents - _shift(autoencoder)) * autoencoder.config.scaling_factor


def decode(autoencoder: ModelMixin, latents: Tensor) -> Tensor:
    """Inverse of :func:`encode`, not clamped: (B, C, h, w) to (B, 3, 8h, 8w), about -1..1."""
    latents = latents / autoencoder.config.scaling_factor + _shift(autoencoder)
    return autoencoder.decode(latents.to(autoencoder.dtype)).sample


def scale_factor(autoencoder: ModelMixin) -> int:
    """Pixels of the picture for each pixel of the latent, along one side."""
    return getattr(autoencoder, "spatial_compression_ratio", None) or 2 ** (
        len(autoencoder.config.block_out_channels) - 1
    )


def _shift(autoencoder: ModelMixin) -> float:
    return autoencoder.config.get("shift_factor") or 0.0
