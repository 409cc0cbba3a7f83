"""Losses, and the figures that validation reports."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.training_utils import compute_snr
from torch import Tensor
from torch.nn import functional as F

from instaface.training.features import weighted_mean

AMPLITUDE_FLOOR = 1e-3  # an eighth of a level of 255, so that the root has a gradient where there is no detail


def laplacian(pictures: Tensor) -> Tensor:
    """Four-neighbour Laplacian of each channel, (B, C, H, W) to (B, C, H - 2, W - 2)."""
    center = pictures[..., 1:-1, 1:-1]
    around = pictures[..., :-2, 1:-1] + pictures[..., 2:, 1:-1] + pictures[..., 1:-1, :-2] + pictures[..., 1:-1, 2:]
    return around - 4 * center


def brightness_and_colour(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) RGB to (B, 3, H, W): the mean of the channels, red less green, blue less green."""
    red, green, blue = pictures.unbind(1)
    return torch.stack([(red + green + blue) / 3, red - green, blue - green], 1)


def local_amplitude(pictures: Tensor, window: int) -> Tensor:
    """Root mean square of each channel over windows that overlap by half, (B, C, H, W) to (B, C, h, w).

    Smaller pictures are one window.
    """
    window = min(window, *pictures.shape[2:])
    energy = F.avg_pool2d(pictures.square(), window, stride=window // 2)
    return (energy + AMPLITUDE_FLOOR**2).sqrt()


DETAIL_LEVELS, DETAIL_WINDOW = 3, 16  # octaves, from the finest; side in pixels of that octave
DETAIL_FLOOR = 1 / 127.5  # one level of 255: less is no detail


def detail_error(made: Tensor, photo: Tensor, region: Tensor) -> Tensor:
    """How much more or less detail there is than in the photo, wherever in a window it lies; a scalar.

    Mean absolute difference of the logarithm of its amplitude, of brightness and colour, octave by octave. Where it is
    not known which strand runs where, an error by pixels is least without any; by amplitudes it is not.

    Args:
        made: (B, 3, H, W) in -1..1.
        photo: the same of what it shall be like.
        region: (B, 1, H, W) weights over the pictures.
    """
    differences = []
    made, photo = brightness_and_colour(made), brightness_and_colour(photo)
    for _ in range(DETAIL_LEVELS):
        amplitudes = []
        weights = F.avg_pool2d(region, DETAIL_WINDOW, stride=DETAIL_WINDOW // 2)
        for picture in (made, photo):
            coarse = F.interpolate(F.avg_pool2d(picture, 2), picture.shape[2:], mode="bilinear")
            energy = F.avg_pool2d(region * (picture - coarse).square(), DETAIL_WINDOW, stride=DETAIL_WINDOW // 2)
            amplitudes.append((energy / weights.clamp(min=1e-3) + DETAIL_FLOOR**2).log() / 2)
        difference = (amplitudes[0] - amplitudes[1]).abs().mean(1, keepdim=True)
        differences.append(weighted_mean(difference, weights))
        made, photo, region = F.avg_pool2d(made, 2), F.avg_pool2d(photo, 2), F.avg_pool2d(region, 2)
    return torch.stack(differences).mean()


def grid_error(made: Tensor, region: Tensor, patch: int) -> Tensor:
    """How much more, or less, pictures change from one patch to the next than they do everywhere; a scalar.

    Absolute logarithm of the ratio of the mean absolute differences of neighbours, after Wang et al. 2000.

    Args:
        made: (B, 3, H, W), whose patches begin at its corner.
        region: (B, 1, H, W) weights over the pictures.
        patch: side of the patches in pixels.
    """
    errors = []
    for pictures, weights in ((made, region), (made.mT, region.mT)):
        change, weights = pictures.diff(dim=-1).abs(), weights[..., 1:].expand_as(pictures[..., 1:])
        between = slice(patch - 1, None, patch)
        across = (change * weights)[..., between].sum() / weights[..., between].sum().clamp(min=1)
        overall = (change * weights).sum() / weights.sum().clamp(min=1)
        errors.append(((across + DETAIL_FLOOR) / (overall + DETAIL_FLOOR)).log().abs())
    return torch.stack(errors).mean()


def pattern_error(correction: Tensor, region: Tensor, patch: int) -> Tensor:
    """How much of the fine detail that was added is the same in all patches, 0..1: dots in rows and columns; a scalar.

    The share of the energy of the mean patch. Of n patches of grain that knows no grid it is about 1 / n.

    Args:
        correction: (B, 3, H, W) what was added, whose patches begin at its corner.
        region: (B, 1, H, W) weights over the pictures.
        patch: side of the patches in pixels.
    """
    fine = region * (correction - F.avg_pool2d(correction, 5, stride=1, padding=2, count_include_pad=False))
    folded, weights = (F.unfold(part, patch, stride=patch).mT for part in (fine, region))  # (B, n, C * patch * patch)
    total = weights.sum(1).clamp(min=1).repeat(1, fine.shape[1])
    pattern = (folded.sum(1) / total).square().mean(1)
    energy = (folded.square().sum(1) / total).mean(1)
    return ((pattern + 1e-3 * DETAIL_FLOOR**2) / (energy + DETAIL_FLOOR**2)).mean()


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """(B, C, H, W) pictures in -1..1, clamped to it and rounded to 8 bits, to (B,) decibel."""
    error = ((_bytes(a) - _bytes(b)) / 255).square().mean((1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))


def _bytes(pictures: Tensor) -> Tensor:
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round()


def min_snr_weights(scheduler: Any, timesteps: Tensor, gamma: float | None) -> Tensor:
    """Weights of the squared error of a prediction (Hang et al. 2023, section 3.4).

    They are min(SNR, gamma) for a predicted clean latent, over SNR for predicted noise, over SNR + 1 for velocity.

    Args:
        scheduler: the schedule of noise, with its prediction type.
        timesteps: (B,).
        gamma: None for equal weights.

    Returns:
        (B,).
    """
    snr = compute_snr(scheduler, timesteps)
    if gamma is None:
        return torch.ones_like(snr)
    clipped = snr.clamp(max=gamma)
    over = {"sample": torch.ones_like(snr), "epsilon": snr.clamp(min=1e-8), "v_prediction": snr + 1}
    return clipped / over[scheduler.config.prediction_type]


def target_of(scheduler: Any, latents: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """What the network has to predict from ``noisy`` so that ``latents`` follow from it.

    Where ``noisy`` is made of ``latents`` it is the noise, the clean latents, or the velocity (Salimans and Ho 2022,
    appendix D), as the scheduler's prediction type says; the formulas also hold where it is made of a draft of them.
    """
    if scheduler.config.prediction_type == "sample":
        return latents
    alpha = _alpha(scheduler, noisy, timesteps)
    if scheduler.config.prediction_type == "epsilon":
        return (noisy - alpha.sqrt() * latents) / (1 - alpha).sqrt()
    return (alpha.sqrt() * noisy - latents) / (1 - alpha).sqrt()


def _alpha(scheduler: Any, noisy: Tensor, timesteps: Tensor) -> Tensor:
    return scheduler.alphas_cumprod.to(noisy.device)[timesteps].to(noisy)[:, None, None, None]


def clean_of(scheduler: Any, prediction: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """The clean latent that a prediction implies; inverse of :func:`target_of`."""
    alpha = _alpha(scheduler, noisy, timesteps)
    if scheduler.config.prediction_type == "sample":
        return prediction
    if scheduler.config.prediction_type == "epsilon":
        return (noisy - (1 - alpha).sqrt() * prediction) / alpha.clamp(min=1e-4).sqrt()
    return alpha.sqrt() * noisy - (1 - alpha).sqrt() * prediction


def identity_loss(a: Tensor, b: Tensor) -> Tensor:
    """Cosine distance of embeddings, (B, F) each to (B,)."""
    return 1 - F.cosine_similarity(a, b, dim=-1)
