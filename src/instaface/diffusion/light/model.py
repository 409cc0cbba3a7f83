"""Reading the embedded model, and its correction of a geometric edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from instaface.diffusion.light.autoencoder import AutoencoderLayers
from instaface.diffusion.light.guidance import Guidance
from instaface.diffusion.light.identity import IdentityLayers, as_clip_sees
from instaface.diffusion.light.schedule import Schedule
from instaface.diffusion.light.unet import UNet
from instaface.diffusion.light.vision import VisionEncoder


class LightModel:
    """The model that ships, as it is meant to be run: its own steps, no guidance, all maps, from a draft.

    Args:
        folder: as ``InstaFacePipeline.save_pretrained`` writes it.
        device: where it runs, in 32 bits.

    Attributes:
        config: settings of the pipeline: size, steps, strength, noise, recogniser, convention.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.config = SimpleNamespace(**_read(folder / "model_index.json"))
        vae, vision, identity, guidance, unet, fusion = (
            _read(folder / name / "config.json")
            for name in ("vae", "image_encoder", "identity_preserver", "guidance_network", "unet", "fusion_controller")
        )
        with torch.device("meta"):  # no random numbers, the weights are read over them
            self.vae = AutoencoderLayers(**_without(vae, "scaling_factor"))
            self.vision = VisionEncoder(vision)
            self.identity = IdentityLayers(**_without(identity, "vision_layer"))
            self.guidance = Guidance(guidance)
            self.unet = UNet(unet)
        for part, name in (
            (self.vae, "vae"),
            (self.vision, "image_encoder"),
            (self.identity, "identity_preserver"),
            (self.guidance, "guidance_network"),
            (self.unet, "unet"),
        ):
            _fill(part, folder / name, self.device)
        self.maps = fusion["maps"]
        scheduler = _read(folder / "scheduler" / "scheduler_config.json")
        self.schedule = Schedule(scheduler, self.config.steps, self.config.strength)

    @torch.no_grad()
    def correction(
        self,
        maps: Mapping[str, Tensor],
        source: Tensor,
        face_embedding: Tensor,
        draft: Tensor,
        region: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """What is to be added to a draft; arguments and numbers as of
        :meth:`instaface.diffusion.pipeline.InstaFacePipeline.correction`, for one edit.

        Returns:
            (1, 3, H, W) float32, -2..2.
        """
        encoded = self.vae.to_latents(torch.cat([maps[name].to(self.device) for name in self.maps]))  # (M, C, h, w)
        conditional = encoded.flatten(0, 1)[None]  # (1, M * C, h, w)
        patches = self.vision(as_clip_sees(source.to(self.device), self.vision.size))[:, 1:]
        tokens = self.identity(patches, face_embedding)
        start = self.vae.to_latents(draft.to(self.device))
        noise = torch.randn(start.shape, generator=generator).to(start)
        latents = self.schedule.add_noise(start, self.config.noise * noise)
        for t in self.schedule.times:
            predicted = self.unet(latents, t, tokens, self.guidance(latents, t, tokens, conditional))
            latents = self.schedule.step(predicted, t, latents).float()
        # The autoencoder's own blur and colour shift are in both, and cancel.
        correction = self.vae.to_pictures(latents).float() - self.vae.to_pictures(start).float()
        return correction * region.to(correction)


def _read(path: Path) -> dict[str, Any]:
    """A configuration, without what diffusers notes about itself."""
    config = json.loads(path.read_text(encoding="utf-8"))
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _without(config: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != name}


def _fill(part: nn.Module, folder: Path, device: torch.device) -> None:
    """Reads a part's weights, in 16 bits on disk and one file or several, and makes them its own in 32."""
    weights: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file, str(device))
    part.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    part.eval().requires_grad_(False)
