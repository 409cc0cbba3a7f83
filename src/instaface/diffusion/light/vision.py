"""CLIP's vision encoder (Radford et al. 2021) in PyTorch alone.

The same numbers as transformers' ``CLIPVisionModel``, to the bit, and the same names of parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class VisionEncoder(nn.Module):
    """A vision transformer over the patches of a picture.

    Args:
        config: as transformers writes it.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.size = config["image_size"]
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(width, eps)
        layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.encoder = nn.ModuleDict({"layers": layers})
        self.post_layernorm = nn.LayerNorm(width, eps)  # of the class token, which is not used

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W), normalised, to (B, 1 + P, V): the class token and the patches', as the last layer has them."""
        x = self.pre_layrnorm(self.embeddings(pictures))
        for layer in self.encoder["layers"].children():
            x = layer(x)
        return x


class Embeddings(nn.Module):
    """Patches, a class token before them, and where they are."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, patch = config["hidden_size"], config["patch_size"]
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        positions = torch.zeros((config["image_size"] // patch) ** 2 + 1, width)
        self.position_embedding = nn.ParameterDict({"weight": positions})

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.patch_embedding(pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], 1)
        return tokens + self.position_embedding["weight"]


class Layer(nn.Module):
    """Self-attention and a perceptron."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.layer_norm1 = nn.LayerNorm(width, eps)
        self.self_attn = Attention(width, config["num_attention_heads"])
        self.layer_norm2 = nn.LayerNorm(width, eps)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        hidden = self.mlp["fc1"](self.layer_norm2(x))
        return x + self.mlp["fc2"](hidden * torch.sigmoid(1.702 * hidden))  # CLIP's quick GELU


class Attention(nn.Module):
    """(B, N, C) attends to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
