"""Samples encoded in advance: small networks cost less than their autoencoder does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instaface.diffusion.latents import encode
from instaface.training.pair_source import augment
from instaface.training.samples import MASKS, Samples

ENCODED = ("photo", "draft")
MAP = "map:"  # before the names of maps, which stand beside the pictures


class CachedLatents:
    """Samples whose pictures are latents, in files of about 2 MB each at 512 pixels.

    Whichever process draws a sample first encodes it. The autoencoder has to stay as it is, so this is for the stages
    after its own.

    Args:
        samples: what is drawn from.
        vae: the image autoencoder.
        folder: of the files; a resumed run finds them again.
    """

    def __init__(self, samples: Samples, vae: Any, folder: Path) -> None:
        self.samples, self.vae, self.folder, self.weights = samples, vae, folder, samples.weights
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Any]:
        """As of :class:`Samples`, :func:`encoded`."""
        path = self.folder / f"{self.samples.rows[index]['key']}.pt"
        if not path.is_file():
            unfinished = path.with_suffix(f".{os.getpid()}")
            torch.save(_small(encoded(self.samples.plain(index), self.vae)), unfinished)
            unfinished.replace(path)
        kept = torch.load(path, weights_only=True)
        kept["latents"] = {name: latents.float() for name, latents in kept["latents"].items()}
        kept |= {name: kept[name].float() / 255 for name in MASKS}
        return {**kept, "source": augment((kept["source"].float() / 127.5 - 1)[None], random)[0]}


def _small(sample: dict[str, Any]) -> dict[str, Any]:
    """Latents as halves, the source and the masks as bytes, which they were."""
    masks = {name: (255 * sample[name]).round().byte() for name in MASKS}
    latents = {name: value.half() for name, value in sample["latents"].items()}
    return {**sample, **masks, "latents": latents, "source": ((sample["source"] + 1) * 127.5).round().byte()}


@torch.no_grad()
def encoded(sample: dict[str, Any], vae: Any) -> dict[str, Any]:
    """A sample with ``latents`` name to (C, h, w) in place of photo, draft and maps."""
    rest = {name: value for name, value in sample.items() if name not in (*ENCODED, "maps")}
    pictures = {name: sample[name] for name in ENCODED}
    pictures |= {MAP + name: value for name, value in sample["maps"].items()}
    device = next(vae.parameters()).device
    latents = {name: encode(vae, value[None].to(device))[0].float().cpu() for name, value in pictures.items()}
    return {**rest, "latents": latents}
