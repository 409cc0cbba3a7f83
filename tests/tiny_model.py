"""The real classes at a width that tests can train in seconds."""

from __future__ import annotations

import torch

from instaface.diffusion.config import ModelConfig, Networks, build


def tiny_config(**changes: object) -> ModelConfig:
    """64 x 64 pictures, all networks of the embedded configuration at a few channels."""
    options: dict = {
        "size": 64,
        "maps": ("normals", "albedo", "rendering", "appearance", "coverage"),
        "fusion": "stack",
        "steps": 2,
        "autoencoder": "Autoencoder",
        "vae": {
            "latent_channels": 4,
            "widths": (8, 16),
            "decoder_widths": (8, 16),
            "encoder_layers": (0, 1),
            "decoder_layers": (0, 1),
        },
        "unet": {
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
        },
        "vision": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
        "identity": {
            "vision_width": 16,
            "face_width": 8,
            "cross_attention_dim": 16,
            "face_tokens": 2,
            "vision_layer": -1,
        },
        "scheduler": {
            "beta_schedule": "scaled_linear",
            "prediction_type": "v_prediction",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
        },
        "recogniser": "dlib",
    }
    return ModelConfig(**{**options, **changes})


def tiny_networks(seed: int = 0, **changes: object) -> Networks:
    """Networks of :func:`tiny_config`, the same ones for the same seed."""
    torch.manual_seed(seed)
    return build(tiny_config(**changes))
