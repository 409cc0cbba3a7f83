"""Pictures for the autoencoder: squares out of photos, and pictures that look like maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from instaface.errors import InstaFaceError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
VALIDATION_EVERY = 18  # of the sorted files, the first of each so many is kept for validation


def picture_files(folder: Path, validation: bool) -> list[Path]:
    """Photos of a folder, sorted by name: those for validation, or the others.

    Raises:
        InstaFaceError: the folder is not there or holds no photo.
    """
    if not folder.is_dir():
        raise InstaFaceError(f"data {folder}: no such folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InstaFaceError(f"data {folder}: no photo in it ({', '.join(SUFFIXES)})")
    return [path for number, path in enumerate(files) if is_held_out(number) == validation]


def is_held_out(number: int) -> bool:
    """Whether the photo at this place of the sorted files is kept for validation."""
    return number % VALIDATION_EVERY == 0


class PictureCrops:
    """Squares of photos, some of them replaced by pictures that look like maps.

    Args:
        files: photos, sRGB.
        crop: side of a square in pixels; None for the whole photo as it is.
        synthetic: share of map-like squares.
    """

    def __init__(self, files: Sequence[Path], crop: int | None, synthetic: float = 0.0) -> None:
        self.files, self.crop, self.synthetic = list(files), crop, synthetic

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Tensor]:
        """``photo``: (3, S, S) float32 in -1..1."""
        if self.crop is not None and random.random() < self.synthetic:
            return {"photo": torch.from_numpy(map_like(self.crop, random))}
        pixels = np.asarray(Image.open(self.files[index]).convert("RGB"))
        return {"photo": _tensor(pixels if self.crop is None else _square(pixels, self.crop, random))}


def _square(pixels: NDArray[np.uint8], size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A random square, mirrored or not, at full size or (one time in four) shrunk by up to two."""
    side = round(size * (random.uniform(1, 2) if random.random() < 0.25 else 1))
    side = min(side, *pixels.shape[:2])
    y, x = (int(random.integers(0, n - side + 1)) for n in pixels.shape[:2])
    cut = pixels[y : y + side, x : x + side]
    if side != size:
        cut = np.asarray(Image.fromarray(cut).resize((size, size), Image.Resampling.LANCZOS))
    return cut[:, ::-1] if random.random() < 0.5 else cut


def map_like(size: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A few ellipsoids before an empty background, coloured by their normals, or plain under soft light.

    Returns:
        (3, size, size) float32 in -1..1: as the maps of a face, smooth inside, sharp at silhouettes, of any colour.
    """
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    out = np.zeros((3, size, size), np.float32)
    for _ in range(int(random.integers(1, 6))):
        center, radii, angle = random.uniform(-0.6, 0.6, 2), random.uniform(0.05, 0.7, 2), random.uniform(0, np.pi)
        u = ((x - center[0]) * np.cos(angle) + (y - center[1]) * np.sin(angle)) / radii[0]
        v = ((y - center[1]) * np.cos(angle) - (x - center[0]) * np.sin(angle)) / radii[1]
        inside = 1 - u**2 - v**2
        alpha = np.clip(inside * size * radii.min() / 2, 0, 1)  # an edge about one pixel wide
        normal = np.stack([u, -v, np.sqrt(np.clip(inside, 0, 1))])
        if random.random() < 0.5:
            colour = normal
        else:
            shading = 0.6 + 0.4 * np.tensordot(random.normal(size=3) * 0.6, normal, 1)
            colour = random.uniform(-1, 1, 3)[:, None, None] * shading
        out = out * (1 - alpha) + np.clip(colour, -1, 1) * alpha
    return out.astype(np.float32)


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 127.5 - 1
