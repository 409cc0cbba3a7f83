"""OpenHead against fresh samples of its source, its landmarks against the detector, and its time.

python benchmarks/openhead.py [--samples 200] [--source ../shared/data/ict_facekit.npz]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from instaface.face import OpenHead  # noqa: E402
from openhead import landmarks, measure  # noqa: E402
from openhead.source import load_source  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("INSTAFACE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--source", type=Path, default=data / "ict_facekit.npz")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--renders", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = OpenHead.load()
    console = Console()
    console.print(accuracy(model, arguments.source, arguments.samples))
    console.print(reprojection(model, arguments.renders))
    console.print(speed(model))


def accuracy(model: OpenHead, source: Path, samples: int) -> Table:
    """Distances from the source's vertices to our surface, identity and expression random."""
    errors = measure.fresh_errors(load_source(source), model, samples, seed=1)
    table = Table(title=f"Error against {samples} fresh samples (mm)")
    for column in ("where", "mean", "asked", "99th percentile", "asked", "largest"):
        table.add_column(column)
    asked = {"face": ("0.35", "1.00"), "lids": ("0.30", "0.30"), "lips": ("0.30", "0.30")}
    for name, (mean, tail) in asked.items():
        values = getattr(errors, name)
        row = (values.mean(), mean, measure.percentile(values, 99), tail, values.max())
        table.add_row(name, *(cell if isinstance(cell, str) else f"{cell:.3f}" for cell in row))
    return table


def reprojection(model: OpenHead, renders: int) -> Table:
    """Face Mesh on renders of unseen heads against the landmarks of the model that made them."""
    errors = landmarks.reprojection_errors(landmarks.Head.from_model(model), model, renders, seed=99)
    table = Table(title=f"Landmarks against Face Mesh on {renders} renders (% of the inter-ocular distance)")
    for column in ("where", "mean", "bias"):
        table.add_column(column)
    for name, (mean, bias) in errors.items():
        table.add_row(name, f"{mean:.2f}", f"{bias:.2f}")
    return table


def speed(model: OpenHead) -> Table:
    table = Table(title="Forward time on one thread, median of 50 (ms)")
    table.add_column("call")
    table.add_column("ms")
    for batch in (1, 8):
        parameters = model.neutral(batch)
        times = []
        for _ in range(50):
            start = time.perf_counter()
            model.vertices(parameters)
            times.append(1000 * (time.perf_counter() - start))
        table.add_row(f"vertices, batch of {batch}", f"{statistics.median(times):.2f}")
    return table


if __name__ == "__main__":
    main()
