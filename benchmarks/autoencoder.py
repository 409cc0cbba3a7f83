"""What the image autoencoder keeps of faces and of maps that it has not seen.

    python benchmarks/autoencoder.py PHOTOS [--model src/instaface/assets/mini] [--photos 60] [--maps 15]

Measured on the photos that ``instaface train`` holds out, spread over them: the stored weights, 8-bit results. The face
is what the tracked face model's face and eyes cover. Maps are those of the same faces, whole pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from torch import Tensor

from instaface.diffusion.autoencoder import Autoencoder
from instaface.diffusion.conditions import picture
from instaface.photo import read_photo
from instaface.render import region_mask, render_maps
from instaface.track.models import face_model
from instaface.training.losses import laplacian, psnr
from instaface.training.pictures import picture_files


@torch.no_grad()
def round_trip(vae: Autoencoder, given: Tensor) -> Tensor:
    """A (1, 3, H, W) picture in -1..1 encoded, decoded and rounded to 8 bits."""
    return ((vae(given).sample.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def figures(result: Tensor, photo: Tensor, face: Tensor) -> dict[str, float]:
    """Figures of a (1, 3, H, W) result, some of them over the (H, W) bool face."""
    inner = face[1:-1, 1:-1]
    kept, had = (float(laplacian(values).square()[..., inner].mean()) for values in (result, photo))
    return {
        "PSNR on the face, dB": float(psnr(result[..., face][..., None], photo[..., face][..., None])),
        "PSNR of the picture, dB": float(psnr(result, photo)),
        "Laplacian energy on the face, of the photo's": kept / had,
        "shift of a colour channel, of 255": float((result - photo).mean((2, 3)).abs().max() * 127.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of photos")
    parser.add_argument("--model", type=Path, default=Path("src/instaface/assets/mini"))
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--maps", type=int, default=15)
    options = parser.parse_args()

    vae = Autoencoder.from_pretrained(options.model / "vae").float()
    files = picture_files(options.data, validation=True)
    numbers = np.linspace(0, len(files) - 1, min(options.photos, len(files))).round().astype(int)
    with_maps = set(np.linspace(0, len(numbers) - 1, options.maps).round().astype(int))
    model, find = face_model("openhead")
    rows: list[dict[str, float]] = []
    for k, number in enumerate(progress(numbers, "Measuring")):
        photo = read_photo(files[number])
        for face in find(photo)[:1]:
            maps = render_maps(model, face.parameters, face.camera)
            mask = torch.from_numpy(region_mask(model, maps, "face", "eyes"))
            given = torch.from_numpy(picture(photo.pixels))[None]
            row = figures(round_trip(vae, given), given, mask)
            for name, values in maps.for_network().items() if k in with_maps else ():
                value = torch.from_numpy(values)[None]
                row[f"PSNR of {name}, dB"] = float(psnr(round_trip(vae, value), value))
            rows.append(row)

    table = Table(title=f"{options.model}, {len(rows)} photos held out")
    for column in ("what", "n", "mean", "lowest", "highest"):
        table.add_column(column)
    for name in max(rows, key=len):
        values = [row[name] for row in rows if name in row]
        shown = (np.mean(values), min(values), max(values))
        table.add_row(name, str(len(values)), *(f"{value:.2f}" for value in shown))
    Console().print(table)


if __name__ == "__main__":
    main()
