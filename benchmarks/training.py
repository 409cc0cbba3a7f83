"""Throughput of each stage of training and of an edit on the device at hand, and its share of what the device can do.

    python benchmarks/training.py [--config configs/mini.yaml] [--batch 16] [--precision bf16] [--steps 5]

The peak is measured, not looked up: the fastest of a few large matrix products in the same precision. Data is random
and lies on the device: what a data loader can deliver is another question. On a CPU, time is processor time over the
number of threads, which other work on the machine lengthens least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from instaface.diffusion.config import build
from instaface.diffusion.cost import cost_table, edit_cost, macs
from instaface.training.config import StageName, TrainingConfig, load_config
from instaface.training.loop import as_pipeline, make_stage

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seconds(function: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median time of a call, after one that warms up."""
    cuda = device.type == "cuda"
    clock, lanes = (time.perf_counter, 1) if cuda else (time.process_time, torch.get_num_threads())
    times = []
    for _ in range(repeats + 1):
        begin = clock()
        function()
        if cuda:
            torch.cuda.synchronize()
        times.append((clock() - begin) / lanes)
    return statistics.median(times[1:])


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates a second of large matrix products."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return n**3 / min(seconds(lambda: a @ b, 3, device) for _ in range(2))


def throughput(
    config: TrainingConfig, name: StageName, batch: int, repeats: int, device: torch.device, dtype: torch.dtype
) -> tuple[float, float]:
    """Pictures, or squares of them where the config says so, a second; multiply-accumulates of each."""
    options = config.stage(name)
    stage = make_stage(build(config.model), name, options).to(device)
    stage.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW([p for p in stage.parameters() if p.requires_grad], lr=1e-4)
    size = config.model.size
    side = getattr(options, "crop", None) or size
    given = side if name == "autoencoder" else size  # the other stages cut their squares themselves
    picture = torch.randn(batch, 3, given, given, device=device).clamp(-1, 1)
    sample = {
        "photo": picture,
        "draft": picture,
        "source": picture,
        "maps": dict.fromkeys(config.model.maps, picture),
        "face": torch.randn(batch, config.model.identity["face_width"], device=device),
        "draw": torch.arange(batch),
    }

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = stage(sample)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    work = macs(lambda: stage(sample)) / batch  # forward only; backward costs twice that of what is passed through
    if name == "autoencoder":
        work *= 3
    else:
        costs = {cost.part: cost.macs for cost in edit_cost(config.model)}
        passes = 2 if name == "1" else 1  # in stage 2 nearly all that is passed through stays as it is
        work += passes * (costs["guidance network"] + costs["diffusion network"]) * (side / size) ** 2
    return batch / seconds(step, repeats, device), work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/mini.yaml"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype, config = PRECISIONS[options.precision], load_config(options.config)
    console = Console()
    console.print(cost_table(edit_cost(config.model)))

    best = peak(device, dtype)
    table = Table(title=f"{options.config.stem}, {device.type}, {options.precision}, {torch.get_num_threads()} threads")
    for column in ("what", "measured", "GMAC each", "share of the measured peak"):
        table.add_column(column)
    for name in ("autoencoder", "1", "2"):
        if config.autoencoder is None and name == "autoencoder":
            continue  # the full-size model takes a finished one
        rate, work = throughput(config, name, options.batch, options.steps, device, dtype)  # type: ignore[arg-type]
        table.add_row(f"training, {name}", f"{rate:.2f} pictures/s", f"{work / 1e9:.1f}", f"{rate * work / best:.0%}")

    networks = build(config.model)
    size = config.model.size
    picture = torch.randn(1, 3, size, size, device=device).clamp(-1, 1)
    pipeline = as_pipeline(networks, config.model).to(device, dtype)
    pipeline.set_progress_bar_config(disable=True)
    one = dict.fromkeys(config.model.maps, picture)
    face = torch.randn(1, config.model.identity["face_width"], device=device)
    edit = seconds(lambda: pipeline(one, picture, face, draft=picture, output_type="pt"), options.steps, device)
    edit_work = sum(cost.total for cost in edit_cost(config.model))
    table.add_row("one edit", f"{edit:.3f} s", f"{edit_work / 1e9:.1f}", f"{edit_work / edit / best:.0%}")
    table.add_row("matrix product", f"{best / 1e9:.0f} GMAC/s", "", "100%")
    console.print(table)


if __name__ == "__main__":
    main()
