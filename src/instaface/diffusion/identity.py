"""The Identity Preserver: what the person and the picture look like, as tokens for cross-attention."""

from __future__ import annotations

from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor
from transformers import PreTrainedModel

from instaface.diffusion.light.identity import IdentityLayers, as_clip_sees


class IdentityPreserver(IdentityLayers, ModelMixin, ConfigMixin):
    """Projects patch tokens of a vision encoder and a face-recognition embedding, and concatenates them.

    Both U-Nets attend to the result where a text-to-image model attends to its text. Without a face embedding (the
    first stage of training) the tokens are the semantic ones alone.

    Args:
        vision_width: width of the vision encoder's tokens.
        face_width: length of the recogniser's embedding.
        cross_attention_dim: width of the tokens that come out.
        face_tokens: number of tokens made of the face embedding.
        vision_layer: which of the vision encoder's hidden states is used; -1 the last, -2 the one before.
    """

    config: Any

    @register_to_config
    def __init__(
        self,
        vision_width: int = 1024,
        face_width: int = 512,
        cross_attention_dim: int = 768,
        face_tokens: int = 4,
        vision_layer: int = -2,
    ) -> None:
        super().__init__(vision_width, face_width, cross_attention_dim, face_tokens)


def patch_tokens(vision: PreTrainedModel, pictures: Tensor, layer: int) -> Tensor:
    """Patch tokens of a CLIP vision encoder (its class token is left out).

    Args:
        vision: transformers' ``CLIPVisionModel`` or ``CLIPVisionModelWithProjection``.
        pictures: (B, 3, H, W) in -1..1, square; resized to the encoder's size.
        layer: index into the encoder's hidden states.

    Returns:
        (B, P, V).
    """
    pixels = as_clip_sees(pictures, vision.config.image_size)
    output = vision(pixels.to(vision.dtype), output_hidden_states=layer != -1)
    hidden = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return hidden[:, 1:]
