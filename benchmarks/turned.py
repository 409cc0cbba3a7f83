"""What layout alone is worth in the report's figures: real photos of turned heads in the place of edits that turn one.

    instaface prepare photos/ -o dataset/
    python benchmarks/turned.py dataset/ [--count 200] [--report REPORT]

The report holds an edit against its photo, which looks ahead. An edit that turns the head is told from it by what a
turned head shows elsewhere, too, and real photos of turned heads say what that alone is worth: no edit can be expected
to score less, however well it is made. The same for two sets of heads that look ahead should be one half.

With a report of ``instaface evaluate``, its patch distances where edits invent are compared with those of real
photos at the same places: of heads that were turned as far when they were taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from instaface.evaluation.cases import load_grid, turn_sizes
from instaface.evaluation.detection import area_under_roc, detection_scores, features
from instaface.evaluation.patches import laplacian_pyramid
from instaface.evaluation.realism import FOLDS, excess_measure, patches_in, read_mask, read_view
from instaface.evaluation.regions import view
from instaface.evaluation.run import VIEWS, invented_path, view_path
from instaface.training.shards import TRAINING, Shards

AHEAD = 4.0  # degrees: heads turned by less look ahead
ALIKE = 6.0  # degrees: heads whose yaw differs by less are turned as far
FEWEST = 20  # photos of such heads; of fewer nothing is said


def picture_of(shards: Shards, number: int) -> NDArray[np.uint8]:
    """(H, W, 3) what the report would see of a face of a dataset."""
    face = shards[number].face
    return view(face.photo.pixels, face.frame)


def classifier_table(shards: Shards, numbers: NDArray[np.int64], yaw: NDArray[np.float64], count: int) -> Table:
    """How well the report's classifier tells turned heads from heads that look ahead."""
    ahead = np.random.default_rng(0).permutation(numbers[np.abs(yaw) < AHEAD])
    turned = numbers[np.argsort(yaw)]
    sets = {
        "turned to the one side": turned[:count],
        "to the other": turned[-count:],
        "ahead": ahead[count : 2 * count],
    }
    reference, folds = [features(picture_of(shards, int(k))) for k in ahead[:count]], [k % FOLDS for k in range(count)]
    table = Table("photos", "yaw", "told from heads that look ahead")
    for name, chosen in sets.items():
        chosen = np.random.default_rng(1).permutation(chosen)  # in the folds, not by their turn
        turns = yaw[np.isin(numbers, chosen)]
        found = [features(picture_of(shards, int(k))) for k in chosen]
        auc = area_under_roc(*detection_scores(np.array(reference), np.array(found), folds))
        table.add_row(name, f"{turns.min():.0f} to {turns.max():.0f}", f"{auc:.3f}")
    return table


def patch_table(report: Path, shards: Shards, numbers: NDArray[np.int64], yaw: NDArray[np.float64]) -> Table:
    """Patch distance of a report's edits where they invent, and of real photos at the same places."""
    table = Table("edit", "of its edits", "real photos", "of heads turned as far", "of heads that look ahead")
    grid = load_grid()
    for name, degrees in ((name, grid[name].yaw) for name in turn_sizes(grid) if grid[name].yaw):
        sources = sorted(path.name.split("__")[0] for path in (report / VIEWS).glob(f"*__{name}.mask.png"))
        edits = [read_view(view_path(report, f"{source}__{name}")) for source in sources]
        scores, found = [distance(report, name, sources, edits)], []
        for wanted in (degrees, 0.0):
            alike = numbers[np.abs(yaw - wanted) < ALIKE]
            found.append(len(alike))
            if len(alike) >= FEWEST:
                chosen = np.random.default_rng(0).choice(alike, len(sources), replace=len(alike) < len(sources))
                scores.append(distance(report, name, sources, [picture_of(shards, int(k)) for k in chosen]))
            else:
                scores.append(float("nan"))
        values = [f"{score:.0f}" for score in scores]
        table.add_row(name, values[0], f"{found[0]}; {found[1]}", *values[1:])
    return table


def distance(report: Path, edit: str, sources: list[str], made: list[NDArray[np.uint8]]) -> float:
    """Excess of the patch distance of pictures, one for each source, where the report's edit invents."""
    found = []
    for source, picture in zip(sources, made, strict=True):
        mask = read_mask(invented_path(report, f"{source}__{edit}"))
        pyramids = laplacian_pyramid(picture), laplacian_pyramid(read_view(view_path(report, source)))
        found.append(patches_in(mask, *pyramids, len(found)))
    return excess_measure(found, ("excess", "floor"))(range(len(found)))["excess"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--count", type=int, default=200, help="photos in each set")
    parser.add_argument("--report", type=Path, help="folder that instaface evaluate wrote")
    options = parser.parse_args()
    shards, console = Shards(options.dataset), Console()
    numbers = np.array(shards.numbers(TRAINING))
    faces = (shards[int(number)].face for number in track(numbers, "poses", console=Console(stderr=True)))
    yaw = np.array([float(face.parameters.head[0, 0]) for face in faces])
    console.print(classifier_table(shards, numbers, yaw, options.count))
    if options.report:
        console.print(patch_table(options.report, shards, numbers, yaw))


if __name__ == "__main__":
    main()
