"""FID, KID and LPIPS where the user has the networks: they are downloaded by nobody but the user.

The networks are the TorchScript files that NVIDIA publishes with StyleGAN2-ADA (``metrics/inception-2015-12-05.pt``
and ``metrics/vgg16.pt``, nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained); they hold the preprocessing
of the original FID and LPIPS code, and need torch alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from instaface.errors import InstaFaceError

if TYPE_CHECKING:
    import torch

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
    """(N, H, W, 3) uint8 pictures to (N, 2048) features; the network scales them itself."""
    return _features(_batch(pixels), INCEPTION, return_features=True)


def lpips(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Perceptual distance (Zhang et al. 2018, VGG) of (H, W, 3) uint8 pictures: 0 the same."""
    one, other = _features(_batch(np.stack([a, b])).float(), VGG, resize_images=False, return_lpips=True)
    return float(((one - other) ** 2).sum())


def _batch(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) to (N, 3, H, W) uint8."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def _features(batch: torch.Tensor, file: str, **options: bool) -> NDArray[np.float64]:
    """(N, F) features of (N, 3, H, W) pictures of levels 0..255, one picture at a time.

    Raises:
        InstaFaceError: the file is not a network, or not the one that its name says.
    """
    import torch

    try:
        with torch.inference_mode():
            return np.concatenate([_network(file)(one[None], **options).double().numpy() for one in batch])
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InstaFaceError(f"{folder() / file} cannot be used: {reason}; download it again or delete it") from error


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """FID (Heusel et al. 2017): |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of (N, F) and (M, F) features.

    The trace of the root is the sum of the singular values of A B^T, A and B being the centred features over the
    root of their number less one: those squared are the eigenvalues of C1 C2 that are not 0. So sets of fewer
    pictures than features cost little.
    """
    mean = a.mean(0) - b.mean(0)
    one, other = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    roots = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    return float(mean @ mean + (one**2).sum() + (other**2).sum() - 2 * roots)


def kernel_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """KID (Binkowski et al. 2018): unbiased squared MMD of (N, F) and (M, F) features, kernel (x.y / F + 1)^3."""
    n, m, size = len(a), len(b), a.shape[1]
    same_a, same_b, cross = ((x @ y.T / size + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within_a = (same_a.sum() - np.trace(same_a)) / (n * (n - 1))
    within_b = (same_b.sum() - np.trace(same_b)) / (m * (m - 1))
    return float(within_a + within_b - 2 * cross.mean())
