"""The full-size model, put together from published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPVisionModel

from instaface.diffusion.config import Networks
from instaface.diffusion.fusion import PAPER_MAPS, FusionController
from instaface.diffusion.guidance import GuidanceNetwork
from instaface.diffusion.identity import IdentityPreserver
from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.errors import InstaFaceError
from instaface.training.config import load_config

BASE = (
    "Stable Diffusion 1.5 (huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5, CreativeML OpenRAIL-M; "
    "folders unet, vae and scheduler)"
)
VISION = "CLIP ViT-L/14 (huggingface.co/openai/clip-vit-large-patch14, MIT; config.json and model.safetensors)"
FACE_WIDTHS = {"arcface": 512, "dlib": 128}


def init_model(base: str, vision: str, face: str, output: Path, config: Path | None = None) -> Path:
    """Writes a model whose networks are the published ones and whose guidance is silent.

    Args:
        base: folder or hub id of a Stable Diffusion 1.x model.
        vision: folder or hub id of a CLIP model.
        face: name of the recogniser.
        output: folder of the new model.
        config: a config whose maps, fusion and identity preserver are used; by default the paper's maps, summed.

    Returns:
        ``output``.

    Raises:
        InstaFaceError: weights that are not there, a recogniser that is unknown.
    """
    if face not in FACE_WIDTHS:
        raise InstaFaceError(f"--face {face!r} is unknown, allowed are {', '.join(FACE_WIDTHS)}")
    model = load_config(config).model if config else None
    unet = _load(UNet2DConditionModel, "--base", base, BASE, subfolder="unet")
    vae = _load(AutoencoderKL, "--base", base, BASE, subfolder="vae")
    scheduler = _load(DDIMScheduler, "--base", base, BASE, subfolder="scheduler")
    image_encoder = _load(CLIPVisionModel, "--vision", vision, VISION)
    fusion = FusionController(
        model.maps if model else PAPER_MAPS, model.fusion if model else "sum", vae.config.latent_channels
    )
    identity = model.identity if model else {}
    fitting = {
        "vision_width": image_encoder.config.hidden_size,
        "cross_attention_dim": unet.config.cross_attention_dim,
        "face_width": FACE_WIDTHS[face],
    }
    networks = Networks(
        vae=vae,
        unet=unet,
        guidance_network=GuidanceNetwork.from_unet(unet, fusion.extra_channels),
        fusion_controller=fusion,
        identity_preserver=IdentityPreserver(**{**identity, **fitting}),
        image_encoder=image_encoder,
        scheduler=scheduler,
    )
    convention = model.convention if model else "instaface"
    InstaFacePipeline(**vars(networks), recogniser=face, convention=convention).save_pretrained(output)
    return output


def _load(cls: Any, option: str, place: str, what: str, **options: Any) -> Any:
    """From a folder or the hub, whole; where it is not, one line that says what is needed."""
    if issubclass(cls, torch.nn.Module):
        options["output_loading_info"] = True
    try:
        loaded = cls.from_pretrained(place, **options)
    except (OSError, ValueError) as error:
        raise InstaFaceError(
            f"{option} {place}: not found on disk or on the hub. Needed: {what}. Download it into a folder and give "
            f"that folder, or log in with `hf auth login` and give the hub id"
        ) from error
    if not isinstance(loaded, tuple):
        return loaded
    model, info = loaded
    if info["missing_keys"]:
        raise InstaFaceError(f"{option} {place} lacks {sorted(info['missing_keys'])[0]}: it is not all of {what}")
    return model
