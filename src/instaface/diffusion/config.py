"""One description of a model, full size or embedded, and the networks built from it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.modeling_utils import ModelMixin
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from instaface.diffusion.autoencoder import Autoencoder
from instaface.diffusion.fusion import ALL_MAPS, FusionController
from instaface.diffusion.guidance import GuidanceNetwork
from instaface.diffusion.identity import IdentityPreserver

AUTOENCODERS: dict[str, type[ModelMixin]] = {"Autoencoder": Autoencoder, "AutoencoderKL": AutoencoderKL}


class ModelConfig(BaseModel):
    """Which networks, how wide, and how they are meant to be run.

    The dictionaries hold the arguments of the classes they are named after; an argument that a class does not have
    is refused. Widths that follow from one another (latents, tokens) are checked.

    Attributes:
        size: side of the pictures in pixels.
        maps: maps that the Fusion Controller takes, in order.
        convention: how normals, albedo and rendering are coded (:mod:`instaface.render.conventions`).
        fusion: ``sum`` or ``stack``.
        steps: runs of the diffusion network in one edit, guidance included.
        strength: share of the noise schedule that sampling from the draft runs through; 1 starts from pure noise.
        noise: factor on the noise that the draft is given before the first step; 0 makes a model of one step a plain
            correction of the draft.
        autoencoder: class of the image autoencoder.
        vae: its arguments.
        unet: arguments of ``UNet2DConditionModel``.
        vision: arguments of ``CLIPVisionConfig``.
        identity: arguments of :class:`~instaface.diffusion.identity.IdentityPreserver`.
        scheduler: arguments of ``DDIMScheduler``, the schedule of noise.
        recogniser: which face embedding the tokens are made of.
    """

    model_config = ConfigDict(extra="forbid")

    size: int = 512
    maps: tuple[str, ...] = Field(min_length=1)
    convention: Literal["instaface", "diffusionrig", "caphuman", "arc2face"] = "instaface"
    fusion: Literal["sum", "stack"]
    steps: int = Field(8, ge=1)
    strength: float = Field(1.0, gt=0, le=1)
    noise: float = Field(1.0, ge=0, le=1)
    autoencoder: Literal["Autoencoder", "AutoencoderKL"]
    vae: dict[str, Any]
    unet: dict[str, Any]
    vision: dict[str, Any]
    identity: dict[str, Any]
    scheduler: dict[str, Any]
    recogniser: Literal["dlib", "arcface"]

    @model_validator(mode="after")
    def _fits_together(self) -> ModelConfig:
        for name in self.maps:
            if name not in ALL_MAPS:
                raise ValueError(f"maps: {name!r} is not one of {', '.join(ALL_MAPS)}")
        for field, function in (
            ("vae", AUTOENCODERS[self.autoencoder].__init__),
            ("unet", UNet2DConditionModel.__init__),
            ("identity", IdentityPreserver.__init__),
            ("scheduler", DDIMScheduler.__init__),
        ):
            unknown = set(getattr(self, field)) - set(inspect.signature(function).parameters)
            if unknown:
                raise ValueError(f"{field}: unknown argument {sorted(unknown)[0]!r}")
        unknown = set(self.vision) - set(CLIPVisionConfig().to_dict())
        if unknown:
            raise ValueError(f"vision: unknown argument {sorted(unknown)[0]!r}")
        for path, value, other in (
            ("unet.in_channels", self.unet["in_channels"], self.vae["latent_channels"]),
            ("unet.out_channels", self.unet["out_channels"], self.vae["latent_channels"]),
            ("identity.vision_width", self.identity["vision_width"], self.vision["hidden_size"]),
            ("identity.cross_attention_dim", self.identity["cross_attention_dim"], self.unet["cross_attention_dim"]),
        ):
            if value != other:
                raise ValueError(f"{path} is {value}, but what it has to fit is {other}")
        return self


@dataclass
class Networks:
    """All parts of a model, under the names that the pipeline gives them."""

    vae: ModelMixin
    unet: UNet2DConditionModel
    guidance_network: GuidanceNetwork
    fusion_controller: FusionController
    identity_preserver: IdentityPreserver
    image_encoder: CLIPVisionModel
    scheduler: DDIMScheduler

    def modules(self) -> dict[str, Any]:
        """The networks by name."""
        return {name: part for name, part in vars(self).items() if isinstance(part, nn.Module)}


def build(config: ModelConfig) -> Networks:
    """New networks; the Guidance Network starts as the diffusion network's copy."""
    vae = AUTOENCODERS[config.autoencoder](**config.vae)
    unet = UNet2DConditionModel(**config.unet)
    fusion = FusionController(config.maps, config.fusion, config.vae["latent_channels"])
    return Networks(
        vae=vae,
        unet=unet,
        guidance_network=GuidanceNetwork.from_unet(unet, fusion.extra_channels),
        fusion_controller=fusion,
        identity_preserver=IdentityPreserver(**config.identity),
        image_encoder=CLIPVisionModel(CLIPVisionConfig(**config.vision)),
        scheduler=DDIMScheduler(**config.scheduler),
    )
