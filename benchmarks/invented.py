"""What is invented, where the truth is known: held-out photos with the holes of an edit there and back.

    instaface pairs dataset/ -o heldout/ --config configs/mini.yaml --split validation --per-face 1 \\
        --set data.pairs='{holes: 1}' --set data.other_camera=0 --set data.light=0 --set data.other_background=0 \\
        --set data.other_hair=0 --set data.held_before=0
    python benchmarks/invented.py heldout/ [MODEL ...]

The report of `instaface evaluate` holds what an edit invents against what the photo shows at that place, which is
another thing: a wall where a head was. Here the photo shows what should be there. The draft and each model fill the
same holes; everywhere else the pictures are the photo.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from instaface.diffusion.corrector import load_pipeline
from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.evaluation.detection import area_under_roc, detection_scores, features
from instaface.evaluation.patches import laplacian_pyramid
from instaface.evaluation.realism import FOLDS, excess_measure, patches_in
from instaface.training.samples import Samples, pixels_of

FADE = 1.5  # pixels: deviation of the blur between what was made and the photo
Filler = Callable[[dict], torch.Tensor]


def filled_by(pipeline: InstaFacePipeline) -> Filler:
    """What a model makes of a sample, (3, S, S) in -1..1."""

    def fill(sample: dict) -> torch.Tensor:
        batch = {name: sample[name][None] for name in ("source", "draft", "region")}
        maps = {name: value[None] for name, value in sample["maps"].items()}
        seed = torch.Generator().manual_seed(0)
        face = sample["face"][None]
        made, _ = pipeline(maps=maps, face_embedding=face, generator=seed, output_type="pt", return_dict=False, **batch)
        return made[0].cpu() * 2 - 1

    return fill


def pasted(made: NDArray[np.uint8], photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What was made in a mask, faded into the photo, so that the border is not what is judged."""
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), FADE)[..., None]
    return np.rint(photo + share * (made.astype(np.float32) - photo)).astype(np.uint8)


def figures(made: list[NDArray[np.uint8]], photos: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]]) -> dict:
    """Patch distance over its floor, how well a classifier tells them, and PSNR, all of what was invented."""
    pairs = [tuple(laplacian_pyramid(picture) for picture in pair) for pair in zip(made, photos, strict=True)]
    found = [patches_in(mask, one, other, k) for k, (mask, (one, other)) in enumerate(zip(masks, pairs, strict=True))]
    distance = excess_measure(found, ("patch distance", "its floor"))(range(len(made)))
    folds = [k % FOLDS for k in range(len(made))]
    real, false = (np.array([features(picture) for picture in side]) for side in (photos, made))
    squares = [np.square(a[m].astype(float) - b[m]).mean() for a, b, m in zip(made, photos, masks, strict=True)]
    psnr = float(np.median(10 * np.log10(255**2 / np.maximum(squares, 1e-3))))
    return {**distance, "told from photos": area_under_roc(*detection_scores(real, false, folds)), "PSNR, dB": psnr}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    rows = json.loads((options.samples / "index.json").read_text())[: options.limit]
    samples = Samples(options.samples, rows, np.ones(len(rows)))
    fillers: dict[str, Filler] = {"draft": lambda sample: sample["draft"]}
    fillers |= {name: filled_by(load_pipeline(name)) for name in options.models}
    made: dict[str, list] = {name: [] for name in fillers}
    photos, masks = [], []
    for k in track(range(len(samples)), console=Console(stderr=True)):
        sample = samples.plain(k)
        photo, mask = pixels_of(sample["photo"]), (sample["region"] * sample["weight"] > 0.5)[0].numpy()
        if not mask.any():
            continue
        photos.append(photo)
        masks.append(mask)
        for name, fill in fillers.items():
            made[name].append(pasted(pixels_of(fill(sample)), photo, mask))
    table = Table(title=f"{len(photos)} held-out photos")
    table.add_column("filled by")
    for number, (name, pictures) in enumerate(made.items()):
        row = figures(pictures, photos, masks)
        if not number:
            for column in row:
                table.add_column(column, justify="right")
        table.add_row(name, *(f"{value:.3f}" if value < 1 else f"{value:.1f}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
