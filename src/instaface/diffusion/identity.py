"""The Identity Preserver: what the person and the picture look like, as tokens for cross-attention."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from transformers import PreTrainedModel

# CLIP's preprocessing (mean and standard deviation of RGB 0..1), Radford et al. 2021.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class IdentityPreserver(ModelMixin, ConfigMixin):
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

    @register_to_config
    def __init__(
        self,
        vision_width: int = 1024,
        face_width: int = 512,
        cross_attention_dim: int = 768,
        face_tokens: int = 4,
        vision_layer: int = -2,
    ) -> None:
        super().__init__()
        self.semantic = _projection(vision_width, cross_attention_dim)
        self.semantic_norm = nn.LayerNorm(cross_attention_dim)
        self.face = _projection(face_width, face_tokens * cross_attention_dim)
        self.face_norm = nn.LayerNorm(cross_attention_dim)

    def forward(self, patches: Tensor, face: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Tokens for cross-attention.

        Args:
            patches: (B, P, V) tokens of the vision encoder, see :func:`patch_tokens`.
            face: (B, F) embedding of the recogniser, of any length other than zero; or None.
            keep: (B,) ones, and zeros where the identity is dropped: the projections then see zeros.

        Returns:
            (B, P, D), or (B, P + face_tokens, D) with a face.
        """
        keep = patches.new_ones(len(patches)) if keep is None else keep.to(patches)
        tokens = self.semantic_norm(self.semantic(patches * keep[:, None, None]))
        if face is None:
            return tokens
        # A unit vector, scaled so that its elements have about unit variance.
        face = nn.functional.normalize(face.to(patches), dim=-1) * face.shape[-1] ** 0.5 * keep[:, None]
        embedded = self.face(face).unflatten(-1, (self.config["face_tokens"], -1))
        return torch.cat([tokens, self.face_norm(embedded)], 1)


def patch_tokens(vision: PreTrainedModel, pictures: Tensor, layer: int) -> Tensor:
    """Patch tokens of a CLIP vision encoder (its class token is left out).

    Args:
        vision: transformers' ``CLIPVisionModel`` or ``CLIPVisionModelWithProjection``.
        pictures: (B, 3, H, W) in -1..1, square; resized to the encoder's size.
        layer: index into the encoder's hidden states.

    Returns:
        (B, P, V).
    """
    size = vision.config.image_size
    pixels = (pictures.float() + 1) / 2
    if pixels.shape[-1] != size:
        pixels = nn.functional.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (pixels.new_tensor(value)[:, None, None] for value in (CLIP_MEAN, CLIP_STD))
    output = vision(((pixels - mean) / std).to(vision.dtype), output_hidden_states=layer != -1)
    hidden = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return hidden[:, 1:]


def _projection(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, out))
