"""DECA's networks, with the names of its published checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Residual block of a ResNet-50, the stride in its 3x3 convolution (He et al. 2016, figure 5)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return (self.bn3(self.conv3(x)) + kept).relu()


class ResNet50(nn.Module):
    """(B, 3, 224, 224) to (B, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            width = 64 * 2**stage
            stride = 1 if stage == 0 else 2
            layers = [Bottleneck(inputs, width, stride)]
            layers += [Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            inputs = 4 * width

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn1(self.conv1(x)).relu())  # (B, 64, 56, 56)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean((2, 3))  # over 7 x 7


class Encoder(nn.Module):
    """DECA's coarse (236 outputs) or detail (128) encoder: RGB 0..1, no mean or deviation, to codes."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, outputs))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, 224, 224) to (B, outputs)."""
        return self.layers(self.encoder(pictures))


class DetailDecoder(nn.Module):
    """DECA's displacement decoder: [jaw 3, expression 50, detail 128] to (B, 1, 256, 256) metres, at most 0.01."""

    SCALE = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(181, 128 * 8 * 8))
        blocks: list[nn.Module] = [nn.BatchNorm2d(128)]
        inputs = 128
        for width in (128, 64, 64, 32, 16):
            # 0.8 is the epsilon, as published.
            blocks += [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(inputs, width, 3, padding=1)]
            blocks += [nn.BatchNorm2d(width, 0.8), nn.LeakyReLU(0.2)]
            inputs = width
        self.conv_blocks = nn.Sequential(*blocks, nn.Conv2d(inputs, 1, 3, padding=1), nn.Tanh())

    def forward(self, codes: Tensor) -> Tensor:
        """(B, 181) to (B, 1, 256, 256)."""
        return self.SCALE * self.conv_blocks(self.l1(codes).view(-1, 128, 8, 8))


def detail(jaw: Tensor, expression: Tensor, codes: Tensor, decoder: DetailDecoder) -> Tensor:
    """Displacement along the normals on FLAME's texture: (B, 3), (B, 50), (B, 128) to (B, 1, 256, 256) metres."""
    return decoder(torch.cat([jaw, expression, codes], 1))
