"""Pairs of edits by two renderers, sides unknown, to be judged by eye; and the score of what judges said.

    python benchmarks/blind.py draw photos/ [more photos] -o pairs/ [--count 50] [--seed 0] [--every 18] [--b default]
    python benchmarks/blind.py score pairs/ answers.json [more answers.json]

Drawn are edits of the report's grid that move the head, as many of each; a folder named twice is drawn from twice as
often. ``pairs/NN.png`` holds the photo, both edits whole, and below them the photo's and their close-ups where the
two differ most. ``pairs.key.json``, beside the folder, says which side is whose: keep it from judges. They answer for
each pair which edit they would rather take for a photo, and which if they had to choose:

    {"00": {"better": "left", "forced": "left"}, "01": {"better": "same", "forced": "right"}, ...}
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from instaface import Editor
from instaface.errors import InstaFaceError
from instaface.evaluation.cases import find_photos, load_grid
from instaface.evaluation.systems import BY_DEFAULT

Picture = NDArray[np.uint8]

SIDE = 640  # pixels of each picture of a sheet
CLOSE = 0.35  # of the picture's side that a close-up shows
GAP = 8  # white pixels between pictures
SIDES = ("left", "right")


def photos_in(folder: Path, every: int) -> list[Path]:
    """The photos of a folder; of those named by numbers, only the multiples of ``every``."""
    return [path for path in find_photos([folder]) if not path.stem.isdigit() or int(path.stem) % every == 0]


def draw_cases(folders: list[Path], every: int, count: int, seed: int) -> list[tuple[Path, str]]:
    """``count`` photos, from one folder after the other as far as they last, each with an edit that moves the head."""
    rng = np.random.default_rng(seed)
    piles = {folder: list(rng.permutation(photos_in(folder, every))) for folder in dict.fromkeys(folders)}
    photos: list[Path] = []
    while len(photos) < count and any(piles.values()):
        photos += [piles[folder].pop() for folder in folders if piles[folder]]
    edits = [name for name, edit in load_grid().items() if edit.yaw is not None or edit.pitch is not None]
    names = np.concatenate([rng.permutation(edits) for _ in range(-(-len(photos) // len(edits)))])
    return [(Path(photo), str(name)) for photo, name in zip(photos, names, strict=False)]


def edited(editor: Editor, photo: Path, edit: str, renderers: tuple[str, str]) -> list[Picture] | None:
    """The photo's largest face and its two edits, as the frame of the edit shows them; None where there is no face."""
    faces = editor.track(photo)
    if not faces:
        return None
    face, frame = faces[0], faces[0].frame
    window = slice(frame.y, frame.y + frame.height), slice(frame.x, frame.x + frame.width)
    asked = [None if name == BY_DEFAULT else name for name in renderers]
    results = [editor.edit(face, load_grid()[edit], renderer=name).image.pixels for name in asked]
    return [np.ascontiguousarray(pixels[window][..., :3]) for pixels in (face.photo.pixels, *results)]


def sheet(pictures: list[Picture]) -> Picture:
    """Photo, left and right edit, above their close-ups where the two edits differ most."""
    whole = [_fitted(picture) for picture in pictures]
    difference = np.abs(whole[1].astype(np.float32) - whole[2]).mean(-1)
    size = round(CLOSE * SIDE)
    felt = cv2.boxFilter(difference, -1, (size, size))
    half = size // 2
    inner = felt[half : SIDE - half, half : SIDE - half]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    close = [_fitted(picture[y : y + size, x : x + size]) for picture in whole]
    return np.concatenate([_row(whole), np.full((GAP, 3 * SIDE + 2 * GAP, 3), 255, np.uint8), _row(close)])


def _fitted(picture: Picture) -> Picture:
    larger = max(picture.shape[:2]) < SIDE
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)


def _row(pictures: list[Picture]) -> Picture:
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], 1)


def key_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".key.json")


def draw(options: argparse.Namespace) -> None:
    """Writes the sheets and their key."""
    options.out.mkdir(parents=True, exist_ok=True)
    renderers, editor = (options.a, options.b), Editor(model=options.model)
    key: dict[str, dict[str, str]] = {}
    swapped = np.random.default_rng(options.seed + 1).permutation(np.arange(options.count) % 2)
    # Some may be left out: a photo without a face, a pair without a difference.
    for photo, edit in track(draw_cases(options.photos, options.every, 2 * options.count, options.seed), "pairs"):
        if len(key) == options.count:
            break
        pictures = edited(editor, photo, edit, renderers)
        if pictures is None or np.array_equal(pictures[1], pictures[2]):
            continue
        name, order = f"{len(key):02d}", (0, 1) if not swapped[len(key)] else (1, 0)
        shown = [pictures[0], pictures[1 + order[0]], pictures[1 + order[1]]]
        cv2.imwrite(str(options.out / f"{name}.png"), sheet(shown)[..., ::-1])
        key[name] = {"photo": photo.name, "edit": edit, **{s: renderers[k] for s, k in zip(SIDES, order, strict=True)}}
        key_of(options.out).write_text(json.dumps(key, indent=1))


def score(options: argparse.Namespace) -> None:
    """Prints who won, for each file of answers, by edit."""
    key = json.loads(key_of(options.pairs).read_text())
    first, second = sorted({pair[side] for pair in key.values() for side in SIDES}, reverse=True)
    for path in options.answers:
        answers = json.loads(path.read_text())
        table = Table("edit", "pairs", first, "same", second, f"forced: {first}", second, title=str(path))
        edits = sorted({pair["edit"] for pair in key.values()})
        for edit in [*edits, "all"]:
            told = [(key[name], said) for name, said in answers.items() if edit in ("all", key[name]["edit"])]
            better = [pair.get(said["better"], "same") for pair, said in told]
            forced = [pair[said["forced"]] for pair, said in told if said.get("forced")]
            counts = [better.count(first), better.count("same"), better.count(second)]
            table.add_row(edit, *(str(n) for n in (len(told), *counts, forced.count(first), forced.count(second))))
        Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("photos", type=Path, nargs="+", help="folders of photos")
    drawing.add_argument("-o", "--out", type=Path, required=True)
    drawing.add_argument("--count", type=int, default=50)
    drawing.add_argument("--seed", type=int, default=0)
    drawing.add_argument("--every", type=int, default=18, help="of photos named by numbers, only its multiples")
    drawing.add_argument("--a", default="geometric", help="a renderer")
    drawing.add_argument("--b", default=BY_DEFAULT, help="the other one")
    drawing.add_argument("--model", help="folder of the diffusion renderer's model")
    drawing.set_defaults(run=draw)
    scoring = commands.add_parser("score")
    scoring.add_argument("pairs", type=Path)
    scoring.add_argument("answers", type=Path, nargs="+")
    scoring.set_defaults(run=score)
    options = parser.parse_args()
    try:
        options.run(options)
    except InstaFaceError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
