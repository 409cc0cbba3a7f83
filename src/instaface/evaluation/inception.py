"""FID, KID and LPIPS where the user has the networks: they are downloaded by nobody but the user.

The networks are the TorchScript files that NVIDIA publishes with StyleGAN2-ADA (``metrics/inception-2015-12-05.pt``
and ``metrics/vgg16.pt``, nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained); they hold the preprocessing
of the original FID and LPIPS code, and need torch alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INCEPTION = "inception-2015-12-05.pt"
VGG = "vgg16.pt"


def folder() -> Path:
    """Where the networks are looked for."""
    from platformdirs import user_data_path

    return user_data_path("instaface") / "metrics"


def missing(file: str) -> str | None:
    """What to say where a network is not there, else None."""
    path = folder() / file
    return None if path.is_file() else f"not measured: {file} of StyleGAN2-ADA is not in {path.parent}"


@cache
def _network(file: str) -> Any:
    import torch

    return torch.jit.load(str(folder() / file)).eval()


def inception_features(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, H, W, 3) uint8 pictures to (N, 2048) features."""
    return _features(pixels, INCEPTION, return_features=True)


def lpips(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Perceptual distance (Zhang et al. 2018, VGG) of (H, W, 3) uint8 pictures: 0 the same."""
    one, other = _features(np.stack([a, b]), VGG, resize_images=False, return_lpips=True)
    return float(((one - other) ** 2).sum())


def _features(pixels: NDArray[np.uint8], file: str, **options: bool) -> NDArray[np.float64]:
    import torch

    with torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).contiguous()
        return np.concatenate([_network(file)(one[None], **options).double().numpy() for one in batch])


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """FID (Heusel et al. 2017): |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of (N, F) and (M, F) features.

    The trace of the root is the sum of the roots of the eigenvalues of C1 C2, which are real and not negative.
    """
    mean = a.mean(0) - b.mean(0)
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(one @ other).real.clip(min=0)).sum()
    return float(mean @ mean + np.trace(one) + np.trace(other) - 2 * roots)


def kernel_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """KID (Binkowski et al. 2018): unbiased squared MMD of (N, F) and (M, F) features, kernel (x.y / F + 1)^3."""
    n, m, size = len(a), len(b), a.shape[1]
    same_a, same_b, cross = ((x @ y.T / size + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within_a = (same_a.sum() - np.trace(same_a)) / (n * (n - 1))
    within_b = (same_b.sum() - np.trace(same_b)) / (m * (m - 1))
    return float(within_a + within_b - 2 * cross.mean())
