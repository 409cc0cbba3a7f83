"""Steps of DDIM (Song et al. 2021) in PyTorch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Schedule:
    """The last steps of a schedule of noise; the same numbers as diffusers' ``DDIMScheduler``, to the bit.

    Args:
        config: as diffusers writes it: scaled-linear betas, trailing steps, the noise is predicted.
        steps: steps that are run.
        strength: share of the schedule that they cover.

    Attributes:
        times: (steps,) int64, the noisiest first.
    """

    def __init__(self, config: dict[str, Any], steps: int, strength: float) -> None:
        count = config["num_train_timesteps"]
        first, last = config["beta_start"] ** 0.5, config["beta_end"] ** 0.5
        betas = torch.linspace(first, last, count, dtype=torch.float32) ** 2
        self.alphas = torch.cumprod(1 - betas, 0)
        total = max(steps, round(steps / strength))
        self._stride = count // total
        times = np.round(np.arange(count, 0, -count / total)).astype(np.int64) - 1
        self.times = torch.from_numpy(times[total - steps :])

    def add_noise(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Latents as noisy as the first step takes them."""
        alpha = self.alphas[self.times[0]]
        return alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise

    def step(self, noise: Tensor, t: Tensor, latents: Tensor) -> Tensor:
        """Latents of the step after ``t``, equations 12 and 16 with sigma 0, from the noise predicted in them."""
        before = t - self._stride
        alpha, next_alpha = self.alphas[t], self.alphas[before] if before >= 0 else torch.tensor(1.0)
        clean = (latents - (1 - alpha) ** 0.5 * noise) / alpha**0.5
        return next_alpha**0.5 * clean + (1 - next_alpha) ** 0.5 * noise
