"""What one edit costs: multiply-accumulates and weights, counted on the meta device (no weights are made)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from instaface.diffusion.config import ModelConfig, Networks, build
from instaface.diffusion.identity import patch_tokens
from instaface.diffusion.latents import decode, encode

if TYPE_CHECKING:
    from instaface.diffusion.pipeline import InstaFacePipeline


@dataclass(frozen=True)
class Cost:
    """One line of the table.

    Attributes:
        part: name of the network.
        calls: how often one edit runs it.
        macs: multiply-accumulates of one call.
        parameters: number of parameters.
    """

    part: str
    calls: int
    macs: int
    parameters: int

    @property
    def total(self) -> int:
        """Multiply-accumulates of all calls."""
        return self.calls * self.macs


def macs(function: Callable[[], Any]) -> int:
    """Multiply-accumulates of the convolutions, products and attentions that ``function`` runs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2


def edit_cost(config: ModelConfig, evaluations: int | None = None) -> list[Cost]:
    """Cost of one edit of one photo: every map and the draft encoded, the result and the draft decoded.

    Args:
        config: the model.
        evaluations: runs of the diffusion and guidance networks, guidance included; by default the config's steps.
    """
    with torch.device("meta"):
        return _costs(build(config), config.size, config.steps if evaluations is None else evaluations)


def pipeline_cost(pipeline: InstaFacePipeline) -> list[Cost]:
    """Cost of one edit with a loaded model, at its own size and number of steps."""
    with torch.device("meta"):
        networks = {name: _again(part) for name, part in pipeline.components.items()}
        return _costs(Networks(**networks), pipeline.config.size, pipeline.config.steps)


def _again(part: Any) -> Any:
    """A new network of the same configuration; what is no network as it is."""
    if isinstance(part, ModelMixin):
        return type(part)(**{name: value for name, value in part.config.items() if not name.startswith("_")})
    return type(part)(part.config) if isinstance(part, nn.Module) else part


def _costs(parts: Networks, size: int, runs: int) -> list[Cost]:
    """Cost of networks on the meta device, for pictures of a size and so many runs of the diffusion network."""
    with torch.device("meta"):
        pictures = torch.zeros(1, 3, size, size)
        latents = encode(parts.vae, pictures)
        step = torch.zeros((), dtype=torch.long)
        count = len(parts.fusion_controller.maps)
        maps = latents.new_zeros(1, count, *latents.shape[1:])
        conditional = parts.fusion_controller.fuse(maps, maps.new_ones(1, count))
        layer = parts.identity_preserver.config.vision_layer
        patches = patch_tokens(parts.image_encoder, pictures, layer)
        face = torch.zeros(1, parts.identity_preserver.config.face_width)
        tokens = parts.identity_preserver(patches, face)
        residuals = parts.guidance_network(latents, step, tokens, conditional)
        table: list[tuple[str, nn.Module | None, int, Callable[[], Any]]] = [
            ("autoencoder, encode", parts.vae, count + 1, lambda: encode(parts.vae, pictures)),
            ("autoencoder, decode", None, 2, lambda: decode(parts.vae, latents)),
            ("vision encoder", parts.image_encoder, 1, lambda: patch_tokens(parts.image_encoder, pictures, layer)),
            ("identity preserver", parts.identity_preserver, 1, lambda: parts.identity_preserver(patches, face)),
            ("guidance network", parts.guidance_network, runs,
             lambda: parts.guidance_network(latents, step, tokens, conditional)),
            ("diffusion network", parts.unet, runs, lambda: parts.unet(latents, step, tokens, **residuals)),
        ]  # fmt: skip
        return [
            Cost(name, calls, macs(function), sum(p.numel() for p in part.parameters()) if part else 0)
            for name, part, calls, function in table
        ]


def cost_table(costs: list[Cost]) -> str:
    """The table as text, with sums: GMAC of one call and of the edit, millions of parameters, MB in 16 bits."""
    lines = [f"{'part':22}{'calls':>6}{'GMAC/call':>11}{'GMAC':>9}{'M param':>9}{'MB fp16':>9}"]
    for c in costs:
        size = f"{c.parameters / 1e6:9.2f}{c.parameters * 2 / 1e6:9.2f}" if c.parameters else ""
        lines.append(f"{c.part:22}{c.calls:6}{c.macs / 1e9:11.2f}{c.total / 1e9:9.2f}{size}")
    n = sum(c.parameters for c in costs)
    lines.append(f"{'one edit':28}{'':11}{sum(c.total for c in costs) / 1e9:9.2f}{n / 1e6:9.2f}{n * 2 / 1e6:9.2f}")
    return "\n".join(lines)
