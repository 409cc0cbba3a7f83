"""What training needs where weights are split over processes (FSDP), besides what accelerate does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, disable_fsdp_ram_efficient_loading
from diffusers.training_utils import EMAModel
from torch import Tensor

from instaface.errors import InstaFaceError
from instaface.training.config import StageConfig


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds but a part of the weights."""
    return accelerator.distributed_type == DistributedType.FSDP


def set_up_sharding(accelerator: Accelerator, stage_name: str, options: StageConfig) -> None:
    """To be called before networks are loaded. Raises InstaFaceError for what split weights cannot be used for."""
    if not is_sharded(accelerator):
        return
    if not accelerator.is_fsdp2:
        raise InstaFaceError("FSDP works in its second version alone: add --fsdp_version 2 to accelerate launch")
    for wanted, what, network in (
        (stage_name == "autoencoder", "the autoencoder's stage", "autoencoder"),
        (getattr(options, "cache_latents", False), "cache_latents", "autoencoder"),
        (getattr(options, "adversarial_weight", 0), "adversarial_weight", "discriminator"),
    ):
        if wanted:
            raise InstaFaceError(f"{what} needs the whole {network} in each process: launch without --use_fsdp")
    # Each process reads all weights before they are split: accelerate's other way cannot send a network's buffers.
    disable_fsdp_ram_efficient_loading()
    plugin = accelerator.state.fsdp_plugin
    plugin.cpu_ram_efficient_loading = False
    if plugin.mixed_precision_policy is not None:  # pictures stay in 32 bits: autocast casts where it is safe
        plugin.mixed_precision_policy = replace(plugin.mixed_precision_policy, cast_forward_inputs=False)


class MovingAverage(EMAModel):
    """The moving average of weights. Checkpoints hold it whole, however the weights are split.

    accelerate saves what the main process returns, so that all processes have to ask for the state.
    """

    shadow_params: list[Tensor]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return {**state, "shadow_params": [_whole(value) for value in self.shadow_params]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        held = self.shadow_params
        super().load_state_dict(state)
        self.shadow_params = [_split_as(value, old) for value, old in zip(self.shadow_params, held, strict=True)]


def _whole(value: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _split_as(value: Tensor, held: Tensor) -> Tensor:
    """The part of ``value`` that this process holds of ``held``, where that lies."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(held.device)
    if not isinstance(held, DTensor):
        return value
    return distribute_tensor(value, held.device_mesh, held.placements, src_data_rank=None)


def learning_parameters(stage: torch.nn.Module) -> list[Tensor]:
    """Those that are trained. FSDP replaces them: to be asked for again once the stage is prepared."""
    return [parameter for parameter in stage.parameters() if parameter.requires_grad]
