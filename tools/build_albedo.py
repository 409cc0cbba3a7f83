"""Learns the albedo model of OpenHead from portraits.

    python tools/build_albedo.py --faces FOLDER --output src/instaface/assets/albedo.npz

Each portrait is tracked and unwrapped into the texture, its light is divided out, both halves of the face are put
together, and the components of what remains are learned, every group of people weighing the same. Same input, same
bytes out (with the same versions of numpy, scipy, torch and MediaPipe). Takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# One thread, so that sums are taken in one order only; numerical libraries read this when they are loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from albedo.learn import COMPONENTS, PER_CELL, learn, save

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("INSTAFACE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--faces", type=Path, default=data, help="folder with faces.csv and faces/")
    parser.add_argument("--output", type=Path, default=ROOT / "src/instaface/assets/albedo.npz")
    parser.add_argument("--per-cell", type=int, default=PER_CELL, help="portraits of each gender and group")
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--keep", type=Path, help="file that keeps the unwrapped portraits for the next run")
    arguments = parser.parse_args()
    asset = learn(arguments.faces, arguments.per_cell, arguments.components, arguments.keep)
    save(asset, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
