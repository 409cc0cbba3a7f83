"""Learns OpenHead, the face model that ships, from samples of ICT-FaceKit.

    python tools/build_openhead.py --source ict_facekit.npz --output src/instaface/assets/openhead.npz

Same input, same bytes out (with the same versions of numpy, scipy and MediaPipe). Takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from openhead.asset import build, save

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("INSTAFACE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--source", type=Path, default=data / "ict_facekit.npz")
    parser.add_argument("--output", type=Path, default=ROOT / "src/instaface/assets/openhead.npz")
    parser.add_argument("--renders", type=int, default=100, help="heads rendered for each half of the landmarks")
    arguments = parser.parse_args()
    asset = build(arguments.source, arguments.renders)
    save(asset, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB, {len(asset['mean'])} vertices")


if __name__ == "__main__":
    main()
