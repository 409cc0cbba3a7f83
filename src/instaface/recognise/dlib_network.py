"""dlib's face-recognition network in PyTorch.

The dlib that pip installs is built for any processor and takes ten times as long for the same numbers.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

MEAN = (122.782, 117.001, 104.298)  # of each channel, as dlib's input layer has it
LEVELS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # channels and residual blocks
# What stands before the parameters of a layer: its name after the length of that; of the last one also its lengths.
LAYERS = re.compile(rb"\x05con_4|\x07affine_|\x04fc_2\x01\x80\x02\x00\x01")


class DlibNetwork(nn.Module):
    """The ResNet with 29 layers of dlib's ``dnn_face_recognition_ex.cpp``."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        blocks, width = [], LEVELS[0][0]
        self.stem = _Convolution(3, width, size=7, stride=2, padding=0)
        for level, (channels, count) in enumerate(LEVELS):
            for k in range(count):
                blocks.append(_Block(width, channels, shrinks=level > 0 and k == 0))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.descriptor = nn.Linear(width, 128, bias=False)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 150, 150) sRGB 0..255 to (B, 128)."""
        values = F.relu(self.stem((faces - self.mean) / 256))
        values = self.blocks(F.max_pool2d(values, 3, 2))
        return self.descriptor(values.mean((2, 3)))

    @classmethod
    def load(cls, path: Path) -> DlibNetwork:
        """The network with the weights of dlib's file."""
        network, data = cls().eval(), path.read_bytes()
        stored = [_floats(data, layer.end()) for layer in LAYERS.finditer(data)]
        owners = [part for part in network.modules() if isinstance(part, (nn.Conv2d, _Affine, nn.Linear))]
        with torch.no_grad():
            for part, values in zip(owners, stored, strict=True):
                if isinstance(part, nn.Linear):
                    values = values.reshape(part.in_features, part.out_features).T.ravel()
                parameters = torch.from_numpy(np.array(values)).split([p.numel() for p in part.parameters()])
                for parameter, own in zip(part.parameters(), parameters, strict=True):
                    parameter.copy_(own.view_as(parameter))
        return network


class _Block(nn.Module):
    """Two convolutions, added to their input; where they shrink it, its means are taken and its channels filled up."""

    def __init__(self, before: int, channels: int, shrinks: bool) -> None:
        super().__init__()
        self.shrinks = shrinks
        self.first = _Convolution(before, channels, 3, 2 if shrinks else 1, 0 if shrinks else 1)
        self.second = _Convolution(channels, channels, 3, 1, 1)

    def forward(self, values: Tensor) -> Tensor:
        found = self.second(F.relu(self.first(values)))
        if self.shrinks:
            values = F.avg_pool2d(values, 2)
        # Both are filled up with zeros to the larger size of either.
        size = [max(pair) for pair in zip(values.shape[1:], found.shape[1:], strict=True)]
        return F.relu(_filled(values, size) + _filled(found, size))


class _Convolution(nn.Sequential):
    """A convolution and dlib's affine layer, in which its batch normalisation has become constant."""

    def __init__(self, before: int, channels: int, size: int, stride: int, padding: int) -> None:
        super().__init__(nn.Conv2d(before, channels, size, stride, padding), _Affine(channels))


class _Affine(nn.Module):
    """A scale and a shift of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.gamma[:, None, None] + self.beta[:, None, None]


def _filled(values: Tensor, size: list[int]) -> Tensor:
    """(B, C, H, W) with zeros after the last of each axis, up to ``size``."""
    channels, rows, columns = (wanted - own for wanted, own in zip(size, values.shape[1:], strict=True))
    return F.pad(values, (0, columns, 0, rows, 0, channels))


def _floats(data: bytes, at: int) -> NDArray[np.float32]:
    """The first tensor that dlib serialised from a place on: version, four lengths, values; integers after the number
    of their bytes."""
    header = []
    for _ in range(5):
        count = data[at]
        header.append(int.from_bytes(data[at + 1 : at + 1 + count], "little"))
        at += 1 + count
    return np.frombuffer(data, "<f4", int(np.prod(header[1:])), at)
