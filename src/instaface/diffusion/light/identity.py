"""The layers of the Identity Preserver, in PyTorch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# CLIP's preprocessing (mean and standard deviation of RGB 0..1), Radford et al. 2021.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class IdentityLayers(nn.Module):
    """What :class:`~instaface.diffusion.identity.IdentityPreserver` computes.

    Args:
        vision_width: width of the vision encoder's tokens.
        face_width: length of the recogniser's embedding.
        cross_attention_dim: width of the tokens that come out.
        face_tokens: number of tokens made of the face embedding.
    """

    def __init__(self, vision_width: int, face_width: int, cross_attention_dim: int, face_tokens: int) -> None:
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
        embedded = self.face(face).unflatten(-1, (-1, *self.face_norm.normalized_shape))
        return torch.cat([tokens, self.face_norm(embedded)], 1)


def as_clip_sees(pictures: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) in -1..1, square, to (B, 3, size, size) float32, normalised as CLIP's encoders take them."""
    pixels = (pictures.float() + 1) / 2
    if pixels.shape[-1] != size:
        pixels = nn.functional.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (pixels.new_tensor(value)[:, None, None] for value in (CLIP_MEAN, CLIP_STD))
    return (pixels - mean) / std


def _projection(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, out))
