"""``instaface demo``."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
from rich.table import Table

from instaface.cli import console
from instaface.edit import Edit
from instaface.photo import read_photo, write_made, write_photo

EDITS = {
    "yaw -25": Edit(yaw=-25),
    "yaw +25": Edit(yaw=25),
    "nod +10": Edit(nod=10),
    "surprise": Edit(expression="neutral,surprise"),
    "neutral": Edit(expression="neutral"),
    "gaze 20,0": Edit(gaze=(20, 0)),
    "light left": Edit(light="left"),
    "light right": Edit(light="right"),
    "yaw 20, wink, light left": Edit(yaw=20, expression="wink", light="left"),
}
COLUMNS = 5
TILE = 384  # pixels


def run(folder: Path) -> None:
    """Edit the photo of an astronaut that scikit-image carries (NASA, public domain)."""
    console.make_folder(folder)
    steps: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        steps[name], clock = steps.get(name, 0.0) + now - clock, now

    # 1. Load.
    editor = console.editor("openhead", diffuses=True)
    lap("load libraries and face model")
    from skimage.data import astronaut

    from instaface.cli.pictures import sheet

    photo = read_photo(astronaut())
    written = [write_photo(photo, folder / "0-original.png")]
    lap("read the photo")
    # 2. Track.
    with console.working("Finding the face"):
        face = editor.track(photo)[0]
    lap("find and fit the face")
    # 3. Edit.
    part = np.s_[face.frame.y : face.frame.y + face.frame.height, face.frame.x : face.frame.x + face.frame.width]
    tiles = [("original", photo.pixels[part])]
    for k, (name, edit) in enumerate(EDITS.items(), 1):
        with console.working(f"Editing: {name}"):
            result = editor.edit(face, edit)
        lap(f"edit: {name}")
        written.append(result.image.save(folder / f"{k}-{_file_name(name)}.png"))
        tiles.append((name, result.image.pixels[part]))
        lap("write the pictures")
    # 4. One sheet of all.
    rows = [tiles[k : k + COLUMNS] for k in range(0, len(tiles), COLUMNS)]
    contact_sheet = write_made(sheet(rows, TILE), folder / "contact_sheet.png")
    lap("write the contact sheet")
    _show(folder, contact_sheet, len(written), steps)


def _file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.replace("-", "minus ").replace("+", "plus "))


def _show(folder: Path, contact_sheet: Path, count: int, steps: dict[str, float]) -> None:
    table = Table("step", "seconds", title_justify="left")
    table.columns[1].justify = "right"
    for name, seconds in steps.items():
        table.add_row(name, f"{seconds:.2f}")
    table.add_row("all", f"{sum(steps.values()):.2f}", style="bold")
    console.out.print(table)
    console.out.print(f"{count} pictures are in {folder.resolve()}", markup=False)
    console.out.print(f"all on one sheet: {contact_sheet.resolve()}", markup=False)
