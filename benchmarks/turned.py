"""How well the report's classifier tells real photos of turned heads from photos of heads that look ahead.

    instaface prepare photos/ -o dataset/
    python benchmarks/turned.py dataset/ [--count 200]

It is told of edits that turn a head by their layout, too, and this is what layout alone is worth: no edit of such
heads can be expected to score less. The same for two sets of heads that look ahead should be one half.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from instaface.evaluation.detection import area_under_roc, detection_scores, features
from instaface.evaluation.realism import FOLDS
from instaface.evaluation.regions import view
from instaface.training.shards import TRAINING, Shards

AHEAD = 4.0  # degrees: heads turned by less look ahead


def features_of(shards: Shards, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, F) features of faces of a dataset."""
    faces = (shards[int(number)].face for number in numbers)
    return np.array([features(view(face.photo.pixels, face.frame)) for face in faces])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--count", type=int, default=200, help="photos in each set")
    options = parser.parse_args()
    shards, count = Shards(options.dataset), options.count
    numbers = np.array(shards.numbers(TRAINING))
    faces = (shards[int(number)].face for number in track(numbers, "poses", console=Console(stderr=True)))
    yaw = np.array([float(face.parameters.head[0, 0]) for face in faces])
    ahead = np.random.default_rng(0).permutation(numbers[np.abs(yaw) < AHEAD])
    turned = numbers[np.argsort(yaw)]
    sets = {
        "turned to the one side": turned[:count],
        "to the other": turned[-count:],
        "ahead": ahead[count : 2 * count],
    }
    reference, folds = features_of(shards, ahead[:count]), [k % FOLDS for k in range(count)]
    table = Table("photos", "yaw", "told from heads that look ahead")
    for name, chosen in sets.items():
        chosen = np.random.default_rng(1).permutation(chosen)  # in the folds, not by their turn
        turns = yaw[np.isin(numbers, chosen)]
        auc = area_under_roc(*detection_scores(reference, features_of(shards, chosen), folds))
        table.add_row(name, f"{turns.min():.0f} to {turns.max():.0f}", f"{auc:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
