"""The Guidance Network in PyTorch alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from instaface.diffusion.light.unet import Encoder


class Guidance(Encoder):
    """The U-Net's encoder and 1 x 1 convolutions; :class:`~instaface.diffusion.guidance.GuidanceNetwork` says more.

    Args:
        config: as diffusers writes it; the conditional stands beside the noisy latent.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        unet = config["unet"]
        super().__init__(unet, unet["in_channels"] + config["extra_channels"])
        widths = unet["block_out_channels"]
        skips = [widths[0]]
        for k, width in enumerate(widths):
            skips += [width] * (unet["layers_per_block"] + (k < len(widths) - 1))
        self.zero_down = nn.ModuleList(nn.Conv2d(width, width, 1) for width in skips)
        self.zero_mid = nn.Conv2d(widths[-1], widths[-1], 1)

    def forward(self, x: Tensor, t: Tensor, tokens: Tensor, conditional: Tensor) -> tuple[list[Tensor], Tensor]:
        """Noisy latent (B, C, h, w) and conditional (B, M * C, h, w) to what the U-Net adds to its skips and middle."""
        middle, _, skips = self.encode(torch.cat([x, conditional], 1), t, tokens)
        return [zero(skip) for zero, skip in zip(self.zero_down, skips, strict=True)], self.zero_mid(middle)
