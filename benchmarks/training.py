"""Throughput of training and of one edit on the device at hand, and its share of what the device can multiply.

    python benchmarks/training.py [--config configs/mini.yaml] [--batch 16] [--precision bf16] [--steps 5]

The peak is measured, not looked up: the fastest of a few large matrix products in the same precision. Data is random
and lies on the device: what a data loader can deliver is another question.
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
from instaface.training.config import load_config
from instaface.training.loop import as_pipeline
from instaface.training.stages import DiffusionStage

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seconds(function: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median time of a call, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates a second of large matrix products."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return n**3 / min(seconds(lambda: a @ b, 3, device) for _ in range(2))


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

    networks = build(config.model)
    stage = DiffusionStage(networks, config.stage("1"), with_face=False).to(device)  # type: ignore[arg-type]
    stage.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW([p for p in stage.parameters() if p.requires_grad], lr=1e-4)
    size = config.model.size
    picture = torch.randn(options.batch, 3, size, size, device=device).clamp(-1, 1)
    batch = {
        "photo": picture,
        "source": picture,
        "maps": dict.fromkeys(config.model.maps, picture),
        "face": torch.randn(options.batch, config.model.identity["face_width"], device=device),
        "draw": torch.arange(options.batch),
    }

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = stage(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    work = macs(lambda: stage(batch)) / options.batch  # forward only
    costs = {cost.part: cost.macs for cost in edit_cost(config.model)}
    backward = 2 * (costs["guidance network"] + costs["diffusion network"])
    best = peak(device, dtype)
    training = options.batch / seconds(step, options.steps, device)

    pipeline = as_pipeline(networks, config.model).to(device, dtype)
    pipeline.set_progress_bar_config(disable=True)
    one = dict.fromkeys(config.model.maps, picture[:1])
    face = batch["face"][:1]
    edit = seconds(lambda: pipeline(one, picture[:1], face, draft=picture[:1], output_type="pt"), options.steps, device)
    edit_work = sum(cost.total for cost in edit_cost(config.model))

    table = Table(title=f"{options.config.stem}, {device.type}, {options.precision}, {torch.get_num_threads()} threads")
    for column in ("what", "measured", "GMAC each", "share of the measured peak"):
        table.add_column(column)
    share = training * (work + backward) / best
    table.add_row("training, stage 1", f"{training:.2f} pictures/s", f"{(work + backward) / 1e9:.1f}", f"{share:.0%}")
    table.add_row("one edit", f"{edit:.3f} s", f"{edit_work / 1e9:.1f}", f"{edit_work / edit / best:.0%}")
    table.add_row("matrix product", f"{best / 1e9:.0f} GMAC/s", "", "100%")
    console.print(table)


if __name__ == "__main__":
    main()
