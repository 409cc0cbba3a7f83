"""The steps of learning the albedo model, in order."""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from albedo.delight import albedo_of, fit_product, split
from albedo.pca import Components, robust_pca
from albedo.texture import membrane, spread_out, symmetric
from albedo.unwrap import SIZE, Layout, Unwrapped, layout, unwrap
from instaface.face import OpenHead
from instaface.face.openhead import ASSETS
from instaface.track import track

VALIDATION = 18  # faces whose number this divides are never learned from
PER_CELL = 150  # portraits of each gender and group
COMPONENTS = 48
ROUNDS = 2  # of fitting light and re-estimating the mean face's detail
SEEN = 0.15  # share of the portraits that must show a texel for it to be learned

Floats = NDArray[np.float32]


def learn(folder: Path, per_cell: int, components: int, keep: Path | None) -> dict[str, NDArray]:
    """All arrays of the asset.

    Args:
        folder: with ``faces.csv`` and ``faces/``.
        per_cell: portraits of each gender and group.
        components: number of components.
        keep: file that keeps the unwrapped portraits for the next run.
    """
    with np.load(ASSETS / "openhead.npz") as asset:
        model = OpenHead(dict(asset))  # without the albedo model that may be there
    place = layout(model)
    # 1. Portraits, unwrapped.
    names, cells = choose(folder, per_cell)
    photos, used = unwrap_all(folder, names, model, keep)
    cells = [cells[k] for k in used]
    weights = balanced(cells)
    # 2. Their albedo.
    textures, trust, tones = delight(photos, weights, place, cells)
    # 3. Its components.
    texels = weights @ trust > SEEN
    skin = robust_pca(textures[:, texels], trust[:, texels], weights, tones, components)
    # 4. The whole texture.
    return assemble(skin, texels, place)


def choose(folder: Path, per_cell: int) -> tuple[list[str], list[str]]:
    """File names and cells (gender and group), the same number of each cell where there are so many."""
    with (folder / "faces.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(Path(row["file"]).stem) % VALIDATION]
    cells: dict[str, list[str]] = {}
    for row in rows:
        cells.setdefault(f"{row['group']} {row['gender']}", []).append(row["file"])
    chosen = []
    for cell, files in sorted(cells.items()):
        step = max(1, len(files) / per_cell)
        chosen += [(files[int(k * step)], cell) for k in range(min(per_cell, len(files)))]
    return [name for name, _ in chosen], [cell for _, cell in chosen]


def balanced(cells: list[str]) -> Floats:
    """(N,) weights that sum to 1 and give every cell the same."""
    return np.array([1 / (cells.count(cell) * len(set(cells))) for cell in cells], np.float32)


@dataclass(frozen=True)
class Portraits:
    """Unwrapped photos, in half precision: ``Portraits[k]`` is one of them."""

    colour: NDArray[np.float16]
    normals: NDArray[np.float16]
    weight: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, k: int) -> Unwrapped:
        return Unwrapped(*(part[k].astype(np.float32) for part in (self.colour, self.normals, self.weight)))


def unwrap_all(folder: Path, names: list[str], model: OpenHead, keep: Path | None) -> tuple[Portraits, list[int]]:
    """The portraits in which a face is found, and their places in ``names``."""
    if keep is not None and keep.exists():
        with np.load(keep) as kept:
            return Portraits(kept["colour"], kept["normals"], kept["weight"]), kept["used"].tolist()
    parts: list[tuple[NDArray[np.float16], ...]] = []
    used = []
    for k, name in enumerate(names):
        for face in track(folder / "faces" / name, faces=1, model=model):
            photo = unwrap(face, model)
            parts.append(tuple(part.astype(np.float16) for part in (photo.colour, photo.normals, photo.weight)))
            used.append(k)
        if k % 100 == 99:
            print(f"{k + 1} of {len(names)} portraits", flush=True)
    portraits = Portraits(*(np.stack(part) for part in zip(*parts, strict=True)))
    if keep is not None:
        np.savez(keep, colour=portraits.colour, normals=portraits.normals, weight=portraits.weight, used=used)
    return portraits, used


def delight(photos: Portraits, weights: Floats, place: Layout, cells: list[str]) -> tuple[Floats, Floats, Floats]:
    """Albedo (N, T, 3) and trust (N, T) of the photos' left half, the same as the right one; (N, 3) tones of skin."""
    detail = np.ones((SIZE, SIZE, 3), np.float32)
    textures = np.empty((len(photos), SIZE, SIZE // 2, 3), np.float32)
    trust = np.empty((len(photos), SIZE, SIZE // 2), np.float32)
    for _ in range(ROUNDS):
        fits = [fit_product(photos[k], detail, place) for k in range(len(photos))]
        tones, shadings = split(np.stack([product for product, _ in fits]), weights)
        for k, (_, light) in enumerate(fits):
            colour, sure = albedo_of(photos[k], light / tones[k], place, tones[k], detail)
            textures[k], trust[k] = (half[:, : SIZE // 2] for half in symmetric(colour, sure))
        detail = mean_detail(textures, trust, tones, weights, place)
    report(tones, shadings, cells)
    return textures.reshape(len(photos), -1, 3), trust.reshape(len(photos), -1), tones.astype(np.float32)


def mean_detail(textures: Floats, trust: Floats, tones: Floats, weights: Floats, place: Layout) -> Floats:
    """(S, S, 3) mean albedo over its mean on plain skin; 1 where few portraits show it."""
    total, share = np.zeros(textures.shape[1:]), np.tensordot(weights, trust, 1)
    for texture, sure, tone, weight in zip(textures, trust, tones, weights, strict=True):
        total += weight * sure[..., None] * texture / tone
    mean = np.where((share > SEEN)[..., None], total / np.maximum(share, 1e-6)[..., None], 1)
    mean = np.concatenate([mean, mean[:, ::-1]], 1)
    return (mean / mean[place.plain].mean(0)).astype(np.float32)


def report(tones: Floats, shadings: Floats, cells: list[str]) -> None:
    """Print tone and light by group: light should not depend on it."""
    for cell in sorted(set(cells)):
        chosen = np.array([c == cell for c in cells])
        tone, light = tones[chosen].mean(0), shadings[chosen].mean()
        print(f"{cell:16s} {chosen.sum():4d}  tone {tone.round(3)}  mean shading {light:.3f}")


def assemble(components: Components, texels: NDArray[np.bool_], place: Layout) -> dict[str, NDArray]:
    """The arrays of the asset: mean, basis in 8 bits with a scale for each component, and the texels that count.

    Skin that portraits do not show continues the skin around it.
    """
    # 1. Mean and basis side by side as one picture of many channels, both halves.
    stack = np.concatenate([components.mean[None], components.basis])
    picture = np.zeros((SIZE * SIZE // 2, 3 * len(stack)), np.float32)
    picture[texels] = stack.transpose(1, 0, 2).reshape(texels.sum(), -1)
    picture, known = (
        np.concatenate([half, half[:, ::-1]], 1)
        for half in (picture.reshape(SIZE, SIZE // 2, -1), texels.reshape(SIZE, SIZE // 2))
    )
    # 2. The rest of the skin, and the gaps around it as far as they are nearer to skin than to other parts.
    picture = membrane(picture, known, place.skin | place.skin[:, ::-1])
    picture, skin = (spread_out(values, place.raster.covered) for values in (picture, place.skin))
    picture[~skin] = 0
    # 3. Numbers as they are kept.
    textures = picture.reshape(SIZE, SIZE, -1, 3).transpose(2, 3, 0, 1)
    scale = np.abs(textures[1:]).max((1, 2, 3)) / 127
    basis = np.round(textures[1:] / scale[:, None, None, None]).astype(np.int8)
    return {
        "mean": textures[0].clip(0, 1).astype(np.float16),
        "basis": basis,
        "scale": scale.astype(np.float32),
        "skin": skin,
        "layout": layout_checksum(),
    }


def layout_checksum() -> np.uint32:
    """Of the skin's texture coordinates, which the model was learned for."""
    with np.load(ASSETS / "openhead.npz") as asset:
        skin = asset["uv_faces"][asset["part"] == list(asset["part_names"]).index("skin")]
        return np.uint32(zlib.crc32(np.ascontiguousarray(asset["uv"][skin]).tobytes()))


def save(asset: dict[str, NDArray], path: Path) -> None:
    """Write the asset; the archive's dates are fixed, so that equal arrays are equal bytes."""
    np.savez_compressed(path, **asset)
