"""The Guidance Network: one trainable copy of the diffusion network's encoder that brings in the fused maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor, nn


@dataclass
class GuidanceOutput(BaseOutput):
    """Residuals under the names of the U-Net's arguments: ``unet(..., **output)``.

    Attributes:
        down_block_additional_residuals: one (B, C_i, h_i, w_i) for each skip connection.
        mid_block_additional_residual: (B, C, h, w).
    """

    down_block_additional_residuals: tuple[Tensor, ...]
    mid_block_additional_residual: Tensor


class GuidanceNetwork(ModelMixin, AttentionMixin, ConfigMixin, PeftAdapterMixin):
    """Encoder and middle block of the diffusion U-Net, followed by zero-initialised 1x1 convolutions.

    As ControlNet (Zhang et al. 2023, section 3), without its hint encoder: the fused latents of the maps join the
    noisy latent at the first convolution. Fused latents as wide as the noisy one (``sum``) are added to it over the
    square root of two; wider ones (``stack``) stand beside it, and only then is the first convolution wider than the
    U-Net's.

    Args:
        unet: configuration of the :class:`~diffusers.UNet2DConditionModel` that is guided.
        extra_channels: channels of the conditional that stand beside the noisy latent; 0 for a sum.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("BasicTransformerBlock", "ResnetBlock2D")
    _repeated_blocks = ("BasicTransformerBlock",)

    @register_to_config
    def __init__(self, unet: dict[str, Any], extra_channels: int = 0) -> None:
        super().__init__()
        # Taken from a whole U-Net, so that names and shapes are its own whatever its configuration says.
        whole = UNet2DConditionModel.from_config(unet)
        first = whole.conv_in
        if extra_channels:
            first = nn.Conv2d(
                first.in_channels + extra_channels, first.out_channels, first.kernel_size, padding=first.padding
            )
        self.conv_in = first
        self.time_proj = whole.time_proj
        self.time_embedding = whole.time_embedding
        self.down_blocks = whole.down_blocks
        self.mid_block = whole.mid_block
        self.zero_down = nn.ModuleList(_zero_convolution(width) for width in _skip_widths(whole.config))
        self.zero_mid = _zero_convolution(whole.config.block_out_channels[-1])

    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, extra_channels: int = 0) -> GuidanceNetwork:
        """A copy of ``unet``'s encoder: its known weights first, zeros for the channels of the conditional."""
        config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
        model = cls(config, extra_channels)
        for name in ("time_embedding", "down_blocks", "mid_block"):
            getattr(model, name).load_state_dict(getattr(unet, name).state_dict())
        with torch.no_grad():
            model.conv_in.weight.zero_()
            model.conv_in.weight[:, : unet.conv_in.in_channels] = unet.conv_in.weight
            model.conv_in.bias.copy_(unet.conv_in.bias)
        return nn.Module.to(model, dtype=unet.dtype, device=unet.device)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        conditional: Tensor,
        conditioning_scale: float = 1.0,
    ) -> GuidanceOutput:
        """Residuals for the diffusion U-Net.

        Args:
            sample: (B, C, h, w) noisy latent.
            timestep: () or (B,) step of the noise schedule.
            encoder_hidden_states: (B, N, D) tokens of the Identity Preserver.
            conditional: (B, C, h, w) or (B, M * C, h, w) from the Fusion Controller.
            conditioning_scale: factor on all residuals.
        """
        if self.config["extra_channels"]:
            hidden = torch.cat([sample, conditional], 1)  # (B, C + M C, h, w)
        else:
            hidden = (sample + conditional) * 0.5**0.5
        emb = self.time_embedding(self.time_proj(timestep.expand(len(sample))).to(sample.dtype))  # (B, 4 C_0)
        hidden = self.conv_in(hidden)
        skips: tuple[Tensor, ...] = (hidden,)
        for block in self.down_blocks:
            hidden, new = _call(block, hidden, emb, encoder_hidden_states)
            skips += new
        hidden = self._middle(hidden, emb, encoder_hidden_states)
        return GuidanceOutput(
            down_block_additional_residuals=tuple(
                zero(skip) * conditioning_scale for zero, skip in zip(self.zero_down, skips, strict=True)
            ),
            mid_block_additional_residual=self.zero_mid(hidden) * conditioning_scale,
        )

    def _middle(self, hidden: Tensor, emb: Tensor, tokens: Tensor) -> Tensor:
        if getattr(self.mid_block, "has_cross_attention", False):
            return self.mid_block(hidden, emb, encoder_hidden_states=tokens)
        return self.mid_block(hidden, emb)


def _call(block: nn.Module, hidden: Tensor, emb: Tensor, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    if getattr(block, "has_cross_attention", False):
        return block(hidden_states=hidden, temb=emb, encoder_hidden_states=tokens)
    return block(hidden_states=hidden, temb=emb)


def _skip_widths(config: Any) -> list[int]:
    """Channels of the U-Net's skip connections, in the order of its forward pass."""
    layers = config.layers_per_block
    widths = [config.block_out_channels[0]]
    for k, width in enumerate(config.block_out_channels):
        last = k == len(config.block_out_channels) - 1
        widths += [width] * ((layers if isinstance(layers, int) else layers[k]) + (not last))
    return widths


def _zero_convolution(width: int) -> nn.Conv2d:
    convolution = nn.Conv2d(width, width, kernel_size=1)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
