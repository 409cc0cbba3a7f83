"""Samples encoded in advance: small networks cost less than their autoencoder does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from instaface.diffusion.latents import encode
from instaface.training.pair_source import augment
from instaface.training.samples import Samples

ENCODED = ("photo", "draft")
MAP = "map:"  # before the names of maps, which stand beside the pictures


class CachedLatents:
    """Samples whose pictures are latents, in memory: about 2 MB each at 512 pixels.

    The autoencoder has to stay as it is, so this is for the stages after its own, in one process (``workers: 0``).

    Args:
        samples: what is drawn from.
        vae: the image autoencoder.
    """

    def __init__(self, samples: Samples, vae: Any) -> None:
        self.samples, self.vae, self.weights = samples, vae, samples.weights
        self._kept: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Any]:
        """As of :class:`Samples`, :func:`encoded`."""
        if index not in self._kept:
            sample = encoded(self.samples.plain(index), self.vae)
            self._kept[index] = {**sample, "source": ((sample["source"] + 1) * 127.5).round().byte()}
        kept = self._kept[index]
        source = kept["source"].float() / 127.5 - 1
        return {**kept, "source": augment(source[None], random)[0]}


@torch.no_grad()
def encoded(sample: dict[str, Any], vae: Any) -> dict[str, Any]:
    """A sample with ``latents`` name to (C, h, w) in place of photo, draft and maps."""
    rest = {name: value for name, value in sample.items() if name not in (*ENCODED, "maps")}
    pictures = {name: sample[name] for name in ENCODED}
    pictures |= {MAP + name: value for name, value in sample["maps"].items()}
    device = next(vae.parameters()).device
    latents = {name: encode(vae, value[None].to(device))[0].float().cpu() for name, value in pictures.items()}
    return {**rest, "latents": latents}
