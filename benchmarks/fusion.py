"""The fusions of the 3D Fusion Controller and the sets of maps, trained on the same budget.

    instaface pairs dataset/ -o samples/ --config configs/mini.yaml
    python benchmarks/fusion.py samples/ -o runs/fusion [--steps 300] [--batch 8] [--crop 128] [--rate 1e-3]

Each variant trains stage 1 as a diffusion model (all noise levels, from the shipped autoencoder) on the same draws with
the same noise. Measured on the validation samples: the loss, and what the networks make of a picture of which nearly
nothing is left (timestep 900) when all that they have are the maps, as PSNR against the photo.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from instaface.diffusion.fusion import ALL_MAPS, PAPER_MAPS
from instaface.diffusion.latents import decode, encode
from instaface.training.cache import CachedLatents
from instaface.training.config import TrainingConfig, load_config
from instaface.training.draws import Sample, Source, fixed_batch, noise_for
from instaface.training.loop import load_networks, make_stage, train
from instaface.training.losses import clean_of
from instaface.training.samples import Samples
from instaface.training.sources import sources
from instaface.training.stages import DiffusionStage

VARIANTS = {f"{mode}, {len(maps)} maps": (mode, maps) for maps in (PAPER_MAPS, ALL_MAPS) for mode in ("sum", "stack")}
VELOCITY = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}  # as pure noise needs it
TIMESTEP = 900
SAMPLES = 16


@torch.no_grad()
def from_maps(stage: DiffusionStage, batch: Sample) -> dict[str, float]:
    """PSNR in dB of the predicted clean pictures at ``TIMESTEP``: of all, and where the camera saw nothing."""
    n, draws = stage.networks, noise_for(batch["draw"], 1)
    batch = stage._cropped(batch, draws)
    latents = encode(n["vae"], batch["photo"])
    noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in draws])
    timesteps = torch.full((len(latents),), TIMESTEP)
    noisy = stage.scheduler.add_noise(latents, noise, timesteps)
    maps, present = n["fusion_controller"].encode(batch["maps"], n["vae"])
    present = present * torch.stack([batch["given"][name] for name in n["fusion_controller"].maps], 1)
    tokens = stage._tokens(batch, torch.ones(len(latents)))
    prediction = stage._predict(noisy, timesteps, tokens, n["fusion_controller"].fuse(maps, present))
    shown = decode(n["vae"], clean_of(stage.scheduler, prediction, noisy, timesteps)).clamp(-1, 1)
    error = (shown - batch["photo"]).square().mean(1, keepdim=True) / 4
    unseen = (batch["coverage"] < 0.45).float()
    means = {"whole": error.mean(), "unseen": (error * unseen).sum() / unseen.sum().clamp(min=1)}
    return {name: float(-10 * torch.log10(value)) for name, value in means.items()}


def run(name: str, config: TrainingConfig, training: Source, validation: Source, init: Path, output: Path) -> list[str]:
    """Trains a variant and measures it; cells of its row."""
    model = train(config, "1", training, validation, output, init)
    stage = make_stage(load_networks(config.model, model), "1", config.stage("1")).eval()
    batch = fixed_batch(validation, SAMPLES)
    losses = [stage.validate({**batch, "draw": batch["draw"] + 1000 * k})["loss"] for k in range(4)]  # type: ignore[operator]
    found = from_maps(stage, batch)  # type: ignore[arg-type]
    return [name, f"{sum(losses) / len(losses):.4f}", f"{found['whole']:.2f}", f"{found['unseen']:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/mini.yaml"))
    parser.add_argument("--init", type=Path, default=Path("src/instaface/assets/mini"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    budget = {"steps": options.steps, "batch": options.batch, "micro_batch": options.batch, "crop": options.crop}
    every = {"validation_steps": options.steps, "checkpoint_steps": options.steps, "sheet": 0, "warmup_steps": 10}
    plain = {"timesteps": [0, 999], "start": "photo", "noise": 1.0, "mixed_precision": "no", "ema_decay": 0.9}
    plain |= {"error": "squared", "seen_weight": 1.0, "learning_rate": options.rate}
    whole = load_config(options.config)
    training, validation = sources("1", whole, options.data)
    assert isinstance(training, Samples)
    cached = CachedLatents(
        training, load_networks(whole.model, options.init).vae, options.output / "latents"
    )  # once for all variants
    table = Table(title=f"{options.steps} updates of {options.batch} squares of {options.crop} pixels")
    for column in ("fusion", "validation loss", "PSNR from maps, dB", "PSNR where unseen, dB"):
        table.add_column(column)
    for name, (mode, maps) in VARIANTS.items():
        changes = {f"stage1.{key}": value for key, value in {**budget, **every, **plain}.items()}
        changes |= {f"model.scheduler.{key}": value for key, value in VELOCITY.items()}
        config = load_config(options.config, {**changes, "model.fusion": mode, "model.maps": list(maps)})
        output = options.output / name.replace(", ", "-").replace(" ", "-")
        table.add_row(*run(name, config, cached, validation, options.init, output))
    Console().print(table)


if __name__ == "__main__":
    main()
