"""Samples encoded in advance: small networks cost less than their autoencoder does."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from instaface.diffusion.latents import encode
from instaface.training.pair_source import augment
from instaface.training.samples import MASKS, Samples

ENCODED = ("photo", "draft")
PIXELS = (*ENCODED, "source")
SOURCE = 256  # side in pixels at which the source is kept
MAP = "map:"  # before the names of maps, which stand beside the pictures


class CachedLatents:
    """Samples whose pictures are latents, in files of about 3 MB each at 512 pixels.

    Whichever process draws a sample first encodes it. The autoencoder has to stay as it is, so this is for the stages
    after its own.

    Args:
        samples: what is drawn from.
        vae: the image autoencoder.
        folder: of the files; a resumed run finds them again.
        autocast: whose arithmetic they are encoded in, the run's own.
    """

    def __init__(
        self,
        samples: Samples,
        vae: Any,
        folder: Path,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        self.samples, self.vae, self.folder, self.weights = samples, vae, folder, samples.weights
        self.autocast = autocast
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Any]:
        """As of :class:`Samples`, :func:`encoded`."""
        in_mirror = bool(random.random() < self.samples.mirrored)
        path = self.folder / f"{self.samples.rows[index]['key']}{'-mirrored' * in_mirror}.pt"
        if not path.is_file():
            unfinished = path.with_suffix(f".{os.getpid()}")
            with self.autocast():
                torch.save(_small(encoded(self.samples.plain(index, in_mirror), self.vae)), unfinished)
            unfinished.replace(path)
        kept = torch.load(path, weights_only=True)
        kept["latents"] = {name: latents.float() for name, latents in kept["latents"].items()}
        kept |= {name: kept[name].float() / 255 for name in MASKS}
        kept |= {name: kept[name].float() / 127.5 - 1 for name in PIXELS}
        return {**kept, "source": augment(kept["source"][None], random)[0]}


def _small(sample: dict[str, Any]) -> dict[str, Any]:
    """Latents as halves, pictures and masks as bytes, which they were; the source no larger than its tokens need."""
    masks = {name: (255 * sample[name]).round().byte() for name in MASKS}
    latents = {name: value.half() for name, value in sample["latents"].items()}
    source = F.adaptive_avg_pool2d(sample["source"], min(SOURCE, sample["source"].shape[-1]))
    sample = {**sample, "source": source}
    pixels = {name: ((sample[name] + 1) * 127.5).round().byte() for name in PIXELS}
    return {**sample, **masks, **pixels, "latents": latents}


@torch.no_grad()
def encoded(sample: dict[str, Any], vae: Any) -> dict[str, Any]:
    """A sample with ``latents`` name to (C, h, w) in place of maps, and of photo and draft besides."""
    rest = {name: value for name, value in sample.items() if name != "maps"}
    pictures = {name: sample[name] for name in ENCODED}
    pictures |= {MAP + name: value for name, value in sample["maps"].items()}
    device = next(vae.parameters()).device
    latents = {name: encode(vae, value[None].to(device))[0].float().cpu() for name, value in pictures.items()}
    return {**rest, "latents": latents}
