"""Time of a warm geometric edit, by kind of edit and by step.

    python benchmarks/editing.py [PHOTO] [--repeats 10] [--threads N]

Edits the largest face of the photo (by default the astronaut that scikit-image carries, made so large that the face's
frame is about 512 pixels wide). Prints medians over repeats, the first call left out.
"""

from __future__ import annotations

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from instaface import Edit, Editor
from instaface.photo import Photo, read_photo

EDITS = {
    "nothing": Edit(),
    "yaw": Edit(turn=20),
    "expression": Edit(expression="neutral,surprise"),
    "gaze": Edit(gaze=(15, 0)),
    "light": Edit(light="left"),
    "all": Edit(turn=20, expression="smile", gaze="camera", light="left"),
}


def astronaut() -> Photo:
    """The example photo, its face as large as in a portrait of 512 x 512 pixels."""
    from skimage.data import astronaut

    image = Image.fromarray(astronaut()[:300, 70:370])
    return read_photo(np.asarray(image.resize((512, 512), Image.Resampling.LANCZOS)))


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, the first one left out."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    editor = Editor()
    photo = read_photo(options.photo) if options.photo else astronaut()
    face = editor.track(photo)[0]
    frame = f"{face.frame.width} x {face.frame.height}"
    table = Table("edit", title=f"frame {frame}, {options.threads} threads, medians of {options.repeats} in ms")
    for column in ("all", "draft", "composite"):
        table.add_column(column, justify="right")
    for name, edit in EDITS.items():
        laps: list[dict[str, float]] = []
        whole = milliseconds(lambda edit=edit, laps=laps: laps.append(editor.edit(face, edit).timings), options.repeats)  # type: ignore[misc]
        steps = [statistics.median([1e3 * lap.get(step, 0) for lap in laps[1:]]) for step in ("draft", "composite")]
        table.add_row(name, f"{whole:.0f}", *(f"{step:.0f}" for step in steps))
    console = Console()
    console.print(table)
    apart = milliseconds(lambda: Editor().edit(face, EDITS["yaw"]), options.repeats)
    console.print(f"first edit of a face, taking the photo apart included: {apart:.0f} ms")
    console.print(f"tracking: {milliseconds(lambda: editor.track(photo), options.repeats):.0f} ms")


if __name__ == "__main__":
    main()
