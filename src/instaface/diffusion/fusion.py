"""The 3D Fusion Controller: several maps become one conditional in latent space, with nothing to learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from instaface.diffusion.latents import encode

PAPER_MAPS = ("normals", "albedo", "rendering")
# What says where a configuration is looked for, among the arguments of ``from_pretrained``.
_PLACES = ("subfolder", "cache_dir", "force_download", "local_files_only", "revision", "token")

ALL_MAPS = (*PAPER_MAPS, "appearance", "coverage")


class FusionController(ModelMixin, ConfigMixin):
    """Encodes every map with the frozen autoencoder, like a photo, and fuses the latents. It has no parameters.

    Two fusions:

    - ``sum``: the sum of the maps that are there over the square root of their number, so that independent latents
      keep their variance. The conditional is as wide as one latent.
    - ``stack``: the latents side by side in the order of ``maps``, zeros for a map that is not there.

    Args:
        maps: names of the maps that the model was trained with, in order.
        mode: ``sum`` or ``stack``.
        latent_channels: channels of the autoencoder's latents.
    """

    @register_to_config
    def __init__(self, maps: tuple[str, ...] = PAPER_MAPS, mode: str = "sum", latent_channels: int = 4) -> None:
        super().__init__()
        if mode not in ("sum", "stack"):
            raise ValueError(f"fusion mode {mode!r}: must be 'sum' or 'stack'")
        # Nothing to learn or to save, but the model has to know its device and its dtype.
        self.register_buffer("place", torch.zeros(0), persistent=False)

    @classmethod
    def from_pretrained(cls, path: str | Path, **options: Any) -> FusionController:  # type: ignore[override]
        """From a folder or the hub: only a configuration, since there are no weights to look for."""
        places = {key: options[key] for key in _PLACES if key in options}
        dtype = options.get("torch_dtype") or options.get("dtype")
        controller = cls.from_config(cls.load_config(path, **places))
        return nn.Module.to(controller, dtype=dtype) if isinstance(dtype, torch.dtype) else controller

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps, in order."""
        return tuple(self.config["maps"])

    @property
    def extra_channels(self) -> int:
        """Channels that the conditional adds to the Guidance Network's input: none for ``sum``."""
        return 0 if self.config["mode"] == "sum" else len(self.maps) * self.config["latent_channels"]

    def encode(self, maps: Mapping[str, Tensor], autoencoder: ModelMixin) -> tuple[Tensor, Tensor]:
        """Latents of the maps, and which of them are there.

        Args:
            maps: name to (B, 3, H, W) in -1..1; names that this model does not use are passed over.
            autoencoder: the image autoencoder.

        Returns:
            (B, M, C, h, w) latents, zeros for a map that is not there, and (B, M) ones and zeros.

        Raises:
            ValueError: none of the maps is one of this model's.
        """
        found = [name for name in self.maps if name in maps]
        if not found:
            raise ValueError(f"no map to fuse among {sorted(maps)}: the model uses {list(self.maps)}")
        batch = len(maps[found[0]])
        coded = encode(autoencoder, torch.cat([maps[name] for name in found])).unflatten(0, (len(found), batch))
        latents = coded.new_zeros(batch, len(self.maps), *coded.shape[2:])
        present = coded.new_zeros(batch, len(self.maps))
        for k, name in enumerate(found):
            latents[:, self.maps.index(name)] = coded[k]
            present[:, self.maps.index(name)] = 1
        return latents, present

    def fuse(self, latents: Tensor, present: Tensor) -> Tensor:
        """Fuses latents.

        Args:
            latents: (B, M, C, h, w).
            present: (B, M), 1 where the map is used and 0 where it is dropped.

        Returns:
            (B, C, h, w) for ``sum``, (B, M * C, h, w) for ``stack``.
        """
        latents = latents * present[:, :, None, None, None]
        if self.config["mode"] == "stack":
            return latents.flatten(1, 2)
        return latents.sum(1) / present.sum(1).clamp(min=1).sqrt()[:, None, None, None]

    def forward(self, maps: Mapping[str, Tensor], autoencoder: ModelMixin) -> Tensor:
        """The fused conditional of ``maps``; see :meth:`encode` and :meth:`fuse`."""
        return self.fuse(*self.encode(maps, autoencoder))
