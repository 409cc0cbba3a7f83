"""Puts a trained model into the package: half precision, in files that a repository takes.

    python tools/ship_model.py runs/2/model [-o src/instaface/assets/mini]

What is there already stays where it is the same: the autoencoder, and the model cards.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from instaface.assets import MINI
from instaface.diffusion.pipeline import InstaFacePipeline

LARGEST = "14MB"  # of a file; a megabyte is a million bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=MINI)
    options = parser.parse_args()
    pipeline = InstaFacePipeline.from_pretrained(options.model, torch_dtype=torch.float16)
    pipeline.save_pretrained(options.output, max_shard_size=LARGEST)
    for config in options.output.rglob("*.json"):  # where it lay is nobody's business
        values = json.loads(config.read_text(encoding="utf-8"))
        if values.pop("_name_or_path", None) is not None:
            config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    files = sorted(options.output.rglob("*.safetensors"))
    for file in files:
        print(f"{file.stat().st_size / 1e6:6.2f} MB  {file.relative_to(options.output)}")
    print(f"{sum(file.stat().st_size for file in files) / 1e6:6.2f} MB")


if __name__ == "__main__":
    main()
