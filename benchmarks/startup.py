"""Time of imports and of commands from a cold start: each in a process of its own.

    python benchmarks/startup.py [--repeats 5]

Prints median wall and processor time. The first run after an installation also compiles, and is left out.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall and processor time of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from skimage.data import astronaut
        from skimage.io import imsave

        photo, out = str(Path(folder) / "photo.png"), str(Path(folder) / "out.png")
        imsave(photo, astronaut())
        python, program = [sys.executable, "-c"], [sys.executable, "-m", "instaface"]
        commands = {
            "python, nothing": [*python, "pass"],
            "import instaface": [*python, "import instaface"],
            "from instaface import Edit": [*python, "from instaface import Edit"],
            "from instaface import Editor": [*python, "from instaface import Editor"],
            "instaface --help": [*program, "--help"],
            "instaface inspect": [*program, "inspect", photo],
            "instaface edit": [*program, "edit", photo, "-o", out, "--yaw", "20"],
        }
        table = Table("cold start", title=f"medians of {options.repeats}")
        for column in ("wall s", "processor s"):
            table.add_column(column, justify="right")
        for name, command in commands.items():
            runs = [seconds(command) for _ in range(options.repeats + 1)][1:]
            table.add_row(name, *(f"{statistics.median(column):.2f}" for column in zip(*runs, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
