"""A tiny run: eight pictures of the astronaut with maps that follow from them, and a config to learn them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from skimage import data
from torch.nn import functional as F

from instaface.training.config import TrainingConfig
from tiny_model import tiny_config


class Astronaut:
    """Eight crops of the astronaut; each map is a plain function of the crop."""

    def __init__(self) -> None:
        photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 127.5 - 1
        places = [(y, x) for y in (0, 64) for x in (128, 160, 192, 224)]
        self.crops = [
            F.interpolate(photo[None, :, y : y + 192, x : x + 192], (64, 64), mode="area")[0] for y, x in places
        ]

    def __len__(self) -> int:
        return len(self.crops)

    def sample(self, index: int, random: np.random.Generator) -> dict:
        photo = self.crops[index]
        blurred = F.interpolate(F.avg_pool2d(photo[None], 8), (64, 64), mode="bilinear")[0]
        grey = photo.mean(0, keepdim=True).expand(3, -1, -1)
        maps = {"normals": grey, "albedo": blurred, "rendering": grey * 0.5, "appearance": photo, "coverage": -grey}
        source = (photo * random.uniform(0.9, 1.0)).clamp(-1, 1)
        face = torch.nn.functional.one_hot(torch.tensor(index), 8).float()
        everywhere = torch.ones(1, 64, 64)
        return {"photo": photo, "maps": maps, "source": source, "face": face, "draft": blurred, "region": everywhere}


def tiny_training(diffusion: dict | None = None, **stage: object) -> TrainingConfig:
    """All stages with the same few options, and some for the stages that denoise."""
    options = {
        "steps": 20,
        "batch": 4,
        "micro_batch": 4,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
        "checkpoint_steps": 10,
        "validation_steps": 10,
        "validation_samples": 4,
        "sheet": 0,
        "ema_decay": 0.9,
        **stage,
    }
    learn_vision = {**options, "train_vision": True, **(diffusion or {})}
    return TrainingConfig(
        model=tiny_config(),
        autoencoder={**options, "crop": 64},
        stage1=learn_vision,
        stage2=learn_vision,
        personalize={**options, "rank": 4, **(diffusion or {})},
    )


def split_weights_on_a_cpu() -> None:
    """accelerate does FSDP on GPUs alone and ignores it elsewhere, although all that it calls works on a CPU too."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    PartialState(cpu=True)._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def main(output: str, micro_batch: str, *how: str) -> None:
    """Trains stage 2 for three updates, alone or under ``accelerate launch``.

    Args:
        output: folder of the run.
        micro_batch: as the option.
        how: ``split`` the weights over the processes; ``begin`` stops after two updates, ``resume`` goes on.
    """
    from instaface.training.loop import train

    torch.set_num_threads(1)
    if "split" in how:
        split_weights_on_a_cpu()
    options = {"batch": 4, "micro_batch": int(micro_batch), "validation_steps": 3, "checkpoint_steps": 3}
    config = tiny_training(steps=3, sheet=1, **options)
    stop_after = 2 if "begin" in how else None
    train(config, "2", Astronaut(), Astronaut(), Path(output), resume="resume" in how, stop_after=stop_after)


if __name__ == "__main__":
    main(*sys.argv[1:])
