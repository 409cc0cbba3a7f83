"""Time of the renderer.

    python benchmarks/rendering.py [--size 512] [--repeats 30] [--threads N]

Prints the median, over repeats, of each step for one face, and of the torch path for a batch.
"""

from __future__ import annotations

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from instaface.face import Camera, OpenHead
from instaface.render import coverage, interpolate, rasterise, render_maps
from instaface.render import torch_rasteriser as on_device


def milliseconds(function: Callable[[], object], repeats: int, device: str = "cpu") -> tuple[float, float]:
    """Medians of the time of a call and of the processor time it took in all threads, the first call left out."""
    walls, processors = [], []
    for _ in range(repeats + 1):
        wall, processor = time.perf_counter(), time.process_time()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return 1e3 * statistics.median(walls[1:]), 1e3 * statistics.median(processors[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=4, help="faces in a batch of the torch path")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size, device = options.size, "cuda" if torch.cuda.is_available() else "cpu"

    model = OpenHead.load()
    camera = Camera.for_photo(size, size)
    parameters = model.neutral()
    mesh = model.mesh(parameters)
    points, faces = camera.project(mesh.vertices[0]).numpy(), mesh.faces.numpy().astype("int32")
    raster = rasterise(points, faces, size, size)
    normals = mesh.normals()[0].numpy()
    batch, moved = model.neutral(options.batch).to(device), model.to(device)
    steps: dict[str, tuple[Callable[[], object], str]] = {
        "pose the mesh, with normals": (lambda: model.mesh(parameters).normals(), "cpu"),
        "rasterise": (lambda: rasterise(points, faces, size, size), "cpu"),
        "interpolate normals": (lambda: interpolate(raster, faces, normals), "cpu"),
        "soft mask": (lambda: coverage(points, faces, size, size), "cpu"),
        "albedo texture": (lambda: model.albedo(parameters.albedo), "cpu"),
        "all maps": (lambda: render_maps(model, parameters, camera), "cpu"),
        "all maps, coded for the network": (lambda: render_maps(model, parameters, camera).for_network(), "cpu"),
        f"torch, batch of {options.batch}, on {device}": (
            lambda: on_device.render_batch(moved, batch, camera),
            device,
        ),
    }
    table = Table(title=f"{size} x {size}, {len(faces)} triangles, {options.threads} threads")
    table.add_column("step")
    table.add_column("median ms", justify="right")
    table.add_column("processor ms", justify="right")
    for name, (function, where) in steps.items():
        table.add_row(name, *(f"{value:.1f}" for value in milliseconds(function, options.repeats, where)))
    Console().print(table)


if __name__ == "__main__":
    main()
