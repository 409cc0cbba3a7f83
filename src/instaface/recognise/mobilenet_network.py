"""MobileNet (Howard et al. 2017) in PyTorch, with the weights of a TensorFlow.js graph model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from instaface.errors import InstaFaceError

MEAN = (103.939, 116.779, 123.68)  # of blue, green, red
STEM = 32  # channels
BLOCKS = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)  # channels that each block gives
SHRINKING = (2, 4, 6, 12)  # the blocks, counted from 1, that halve the size
POINTWISE = "convolution/merged_input"  # a kernel that the scale of its normalisation went into
SCALE, SHIFT = "batchnorm_1/mul", "batchnorm_1/sub"  # what is left of a normalisation

Arrays = dict[str, NDArray[np.float32]]


class MobileNet(nn.Module):
    """A convolution and 13 pairs of a depthwise and a pointwise one, averaged over the picture."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        layers, width = [_Convolution(3, STEM, 3, 2)], STEM
        for block, channels in enumerate(BLOCKS, 1):
            layers += [_Convolution(width, width, 3, 2 if block in SHRINKING else 1, width)]
            layers += [_Convolution(width, channels, 1)]
            width = channels
        self.layers = nn.Sequential(*layers)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB 0..255 to (B, 1024)."""
        return self.layers(faces.flip(1) - self.mean).mean((2, 3))

    @classmethod
    def load(cls, path: Path) -> MobileNet:
        """The network with the weights of a graph model.

        Raises:
            InstaFaceError: the files are damaged, or of another network.
        """
        network = cls().eval()
        with torch.no_grad():
            for parameter, values in zip(network.parameters(), _layers(read_graph_model(path), path), strict=True):
                if parameter.shape != values.shape:
                    raise InstaFaceError(f"{path} is another network: an array of a layer is {values.shape}")
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))
        return network


class _Convolution(nn.Conv2d):
    """A convolution and a ReLU that ends at 6, padded as TensorFlow does: of an odd number, more at the end."""

    def __init__(self, before: int, channels: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, channels, size, stride, groups=groups)

    def forward(self, values: Tensor) -> Tensor:
        size, stride = self.kernel_size[0], self.stride[0]
        missing = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in values.shape[:1:-1]]
        values = F.pad(values, [side for total in missing for side in (total // 2, total - total // 2)])
        return F.relu6(super().forward(values))


def _layers(arrays: Arrays, path: Path) -> list[NDArray[np.float32]]:
    """Kernel (out, in, rows, columns) and bias of each layer in turn, normalisations worked in."""
    try:
        layers = [arrays[f"conv1/{POINTWISE}"].transpose(3, 2, 0, 1), arrays[f"conv1_bn/{SHIFT}"]]
        for block in range(1, len(BLOCKS) + 1):
            deep, point = f"conv_dw_{block}", f"conv_pw_{block}"
            kernel = arrays[f"{deep}/depthwise_kernel"] * arrays[f"{deep}_bn/{SCALE}"][:, None]
            layers += [kernel.transpose(2, 3, 0, 1), arrays[f"{deep}_bn/{SHIFT}"]]
            layers += [arrays[f"{point}/{POINTWISE}"].transpose(3, 2, 0, 1), arrays[f"{point}_bn/{SHIFT}"]]
    except KeyError as error:
        raise InstaFaceError(f"{path} is another network: it has no {error.args[0]}") from None
    return layers


def read_graph_model(path: Path) -> Arrays:
    """The float arrays of a TensorFlow.js graph model by name, whether stored as 32 or 16 bit.

    Raises:
        InstaFaceError: the files are no graph model, or cut short.
    """
    try:
        groups = json.loads(path.read_text("utf-8"))["weightsManifest"]
        return {name: array for group in groups for name, array in _group(group, path.parent).items()}
    except OSError as error:
        raise InstaFaceError(f"{error.filename}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InstaFaceError(f"{path}: damaged or no graph model of TensorFlow.js ({error})") from None


def _group(group: dict[str, Any], folder: Path) -> Arrays:
    """The arrays of one group of files, which follow each other without gaps."""
    data, at, arrays = b"".join((folder / name).read_bytes() for name in group["paths"]), 0, {}
    for entry in group["weights"]:
        stored = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
        count = int(np.prod(entry["shape"]))
        if entry["dtype"] == "float32":
            values = np.frombuffer(data, stored, count, at).astype(np.float32)
            arrays[entry["name"]] = values.reshape(entry["shape"])
        at += count * stored.itemsize
    return arrays
