"""The U-Net of Stable Diffusion's design in PyTorch alone, as far as the embedded model uses it.

The same numbers as diffusers' ``UNet2DConditionModel``, to the bit, and the same names of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """The half that the U-Net and the Guidance Network share: from a latent down to the middle block.

    Args:
        config: of the U-Net, as diffusers writes it.
        in_channels: channels of what comes in.
    """

    def __init__(self, config: dict[str, Any], in_channels: int) -> None:
        super().__init__()
        widths, layers = config["block_out_channels"], config["layers_per_block"]
        self.time_width = widths[0]
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], 4 * widths[0])
        self.down_blocks = nn.ModuleList(
            DownBlock(config, [width_in] + [width] * layers, "CrossAttn" in kind, last=k == len(widths) - 1)
            for k, (kind, width_in, width) in enumerate(
                zip(config["down_block_types"], [widths[0], *widths], widths, strict=False)
            )
        )
        self.mid_block = MiddleBlock(config, widths[-1])

    def encode(self, x: Tensor, t: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(B, C, h, w) at step () of the schedule under (B, N, D) tokens to the middle block's output, the step's
        embedding and what skips the middle."""
        embedding = self.time_embedding(sinusoids(t.expand(len(x)), self.time_width).to(x))  # (B, 4 C_0)
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            x, passed = block(x, embedding, tokens)
            skips += passed
        return self.mid_block(x, embedding, tokens), embedding, skips


class UNet(Encoder):
    """Predicts the noise in a latent."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config, config["in_channels"])
        widths, layers = config["block_out_channels"][::-1], config["layers_per_block"]
        self.up_blocks = nn.ModuleList()
        for k, (kind, width) in enumerate(zip(config["up_block_types"], widths, strict=True)):
            below, beside = widths[max(k - 1, 0)], widths[min(k + 1, len(widths) - 1)]
            channels = [below + width] + [2 * width] * (layers - 1) + [width + beside]
            self.up_blocks.append(UpBlock(config, channels, width, "CrossAttn" in kind, last=k == len(widths) - 1))
        self.conv_norm_out = nn.GroupNorm(config["norm_num_groups"], widths[-1], config["norm_eps"])
        self.conv_out = nn.Conv2d(widths[-1], config["out_channels"], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, tokens: Tensor, guidance: tuple[list[Tensor], Tensor]) -> Tensor:
        """(B, C, h, w) noise; ``guidance`` is added to what skips the middle, and to the middle."""
        x, embedding, skips = self.encode(x, t, tokens)
        skips = [skip + more for skip, more in zip(skips, guidance[0], strict=True)]
        x = x + guidance[1]
        for block in self.up_blocks:
            x = block(x, skips, embedding, tokens)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class DownBlock(nn.Module):
    """Residual blocks, each with a transformer behind it or not, and a convolution that halves the sides."""

    def __init__(self, config: dict[str, Any], widths: Sequence[int], attends: bool, last: bool) -> None:
        super().__init__()
        width = widths[-1]
        self.resnets = nn.ModuleList(ResidualBlock(config, a, width) for a in widths[:-1])
        self.attentions = nn.ModuleList(Transformer(config, width) for _ in self.resnets if attends)
        self.downsamplers = nn.ModuleList(() if last else (Resampler(width, stride=2),))

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for k, resnet in enumerate(self.resnets):
            x = resnet(x, embedding)
            if self.attentions:
                x = self.attentions[k](x, tokens)
            skips.append(x)
        for downsampler in self.downsamplers:
            x = downsampler(x)
            skips.append(x)
        return x, skips


class MiddleBlock(nn.Module):
    """A residual block before a transformer and one behind it."""

    def __init__(self, config: dict[str, Any], width: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(config, width, width) for _ in range(2))
        self.attentions = nn.ModuleList((Transformer(config, width),))

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor) -> Tensor:
        first, second = self.resnets
        return second(self.attentions[0](first(x, embedding), tokens), embedding)


class UpBlock(nn.Module):
    """As :class:`DownBlock`, but each residual block also takes the last of what skipped the middle off its list, and
    the sides are doubled."""

    def __init__(self, config: dict[str, Any], widths: Sequence[int], width: int, attends: bool, last: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(config, a, width) for a in widths)
        self.attentions = nn.ModuleList(Transformer(config, width) for _ in self.resnets if attends)
        self.upsamplers = nn.ModuleList(() if last else (Resampler(width, stride=1),))

    def forward(self, x: Tensor, skips: list[Tensor], embedding: Tensor, tokens: Tensor) -> Tensor:
        for k, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], 1), embedding)
            if self.attentions:
                x = self.attentions[k](x, tokens)
        for upsampler in self.upsamplers:
            x = upsampler(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Resampler(nn.Module):
    """The convolution behind a change of size."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ResidualBlock(nn.Module):
    """x + f(x, step), with a 1 x 1 convolution on x where the width changes."""

    def __init__(self, config: dict[str, Any], width_in: int, width: int) -> None:
        super().__init__()
        groups, eps = config["norm_num_groups"], config["norm_eps"]
        self.norm1 = nn.GroupNorm(groups, width_in, eps)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * config["block_out_channels"][0], width)
        self.norm2 = nn.GroupNorm(groups, width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = hidden + self.time_emb_proj(F.silu(embedding))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return self.conv_shortcut(x) + hidden


class Transformer(nn.Module):
    """Pixels attend to one another and to the tokens, residually."""

    def __init__(self, config: dict[str, Any], width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config["norm_num_groups"], width, 1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, config["cross_attention_dim"], config["attention_head_dim"])
            for _ in range(config["transformer_layers_per_block"])
        )
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        hidden = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)  # (B, h w, C)
        for block in self.transformer_blocks:
            hidden = block(hidden, tokens)
        hidden = hidden.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2).contiguous()
        return self.proj_out(hidden) + x


class TransformerBlock(nn.Module):
    """Self-attention, attention to the tokens, and a gated perceptron."""

    def __init__(self, width: int, token_width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, token_width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = Perceptron(width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        own = self.norm1(x)
        x = self.attn1(own, own) + x
        x = self.attn2(self.norm2(x), tokens) + x
        return self.ff(self.norm3(x)) + x


class Attention(nn.Module):
    """(B, N, C) attends to (B, M, D)."""

    def __init__(self, width: int, other: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(other, width, bias=False)
        self.to_v = nn.Linear(other, width, bias=False)
        self.to_out = nn.ModuleList((nn.Linear(width, width),))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        parts = (self.to_q(x), self.to_k(other), self.to_v(other))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.to_out[0](F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two layers with a gate (GEGLU, Shazeer 2020), four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList((Gate(width), nn.Identity(), nn.Linear(4 * width, width)))

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class Gate(nn.Module):
    """Half of the numbers, gated by the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class TimeEmbedding(nn.Module):
    """What the residual blocks are told of the step."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width_in, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


def sinusoids(t: Tensor, width: int) -> Tensor:
    """(B,) steps to (B, width) cosines and sines of wavelengths up to 10000 steps."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)
