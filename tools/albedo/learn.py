"""The steps of learning the albedo model, in order."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from albedo.delight import albedo_of, fit_product, split
from albedo.pca import Components, robust_pca
from albedo.texture import membrane, spread_out, symmetric
from albedo.unwrap import SIZE, Layout, Unwrapped, layout, unwrap
from instaface.face import OpenHead
from instaface.face.colour import linear_from_pixels
from instaface.face.openhead import ASSETS
from instaface.track import track

VALIDATION = 18  # faces whose number this divides are never learned from
PER_CELL = 150  # portraits of each gender and group
COMPONENTS = 48
ROUNDS = 2  # of fitting light and re-estimating the mean face's detail
SEEN = 0.02  # share of the portraits that must show a texel for it to be learned

Floats = NDArray[np.float32]


def learn(folder: Path, per_cell: int, components: int, keep: Path | None) -> dict[str, NDArray]:
    """All arrays of the asset.

    Args:
        folder: with ``faces.csv`` and ``faces/``.
        per_cell: portraits of each gender and group.
        components: number of components.
        keep: file that keeps the unwrapped portraits for the next run.
    """
    model = OpenHead.load()
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


def unwrap_all(folder: Path, names: list[str], model: OpenHead, keep: Path | None) -> tuple[list[Unwrapped], list[int]]:
    """The portraits in which a face is found, and their places in ``names``."""
    if keep is not None and keep.exists():
        with np.load(keep) as kept:
            colour, normals, trust, used = (kept[key] for key in ("colour", "normals", "weight", "used"))
    else:
        found: list[tuple[int, Unwrapped]] = []
        for k, name in enumerate(names):
            faces = track(folder / "faces" / name, faces=1)
            if faces:
                found.append((k, unwrap(faces[0], model)))
            if k % 100 == 99:
                print(f"{k + 1} of {len(names)} portraits", flush=True)
        used = np.array([k for k, _ in found])
        colour = np.stack([photo.colour.astype(np.float16) for _, photo in found])
        normals = np.stack([photo.normals.astype(np.float16) for _, photo in found])
        trust = np.stack([photo.weight.astype(np.float16) for _, photo in found])
        if keep is not None:
            np.savez(keep, colour=colour, normals=normals, weight=trust, used=used)
    photos = [Unwrapped(*(part[k].astype(np.float32) for part in (colour, normals, trust))) for k in range(len(used))]
    return photos, used.tolist()


def delight(photos: list[Unwrapped], weights: Floats, place: Layout, cells: list[str]) -> tuple[Floats, Floats, Floats]:
    """(N, S * S, 3) albedo and (N, S * S) trust of the photos, symmetric; and (N, 3) tones of their skin."""
    detail = np.ones((SIZE, SIZE, 3), np.float32)
    textures = np.empty((len(photos), SIZE, SIZE, 3), np.float32)
    trust = np.empty((len(photos), SIZE, SIZE), np.float32)
    for _ in range(ROUNDS):
        fits = [fit_product(photo, detail, place) for photo in photos]
        tones, shadings = split(np.stack([product for _, product, _ in fits]), weights)
        for k, (photo, (_, _, product)) in enumerate(zip(photos, fits, strict=True)):
            colour, sure = albedo_of(photo, product / tones[k], place, tones[k], detail)
            textures[k], trust[k] = symmetric(colour, sure)
        detail = mean_detail(textures / tones[:, None, None], trust, weights, place)
    report(tones, shadings, cells)
    return textures.reshape(len(photos), -1, 3), trust.reshape(len(photos), -1), tones.astype(np.float32)


def mean_detail(relative: Floats, trust: Floats, weights: Floats, place: Layout) -> Floats:
    """(S, S, 3) mean albedo over its mean on plain skin; 1 where few portraits show it."""
    share = np.tensordot(weights, trust, 1)
    mean = np.einsum("n,nyx,nyxc->yxc", weights, trust, relative) / np.maximum(share, 1e-6)[..., None]
    mean = np.where((share > SEEN)[..., None], mean, 1)
    return (mean / mean[place.plain].mean(0)).astype(np.float32)


def report(tones: Floats, shadings: Floats, cells: list[str]) -> None:
    """Print tone and light by group: light should not depend on it."""
    for cell in sorted(set(cells)):
        chosen = np.array([c == cell for c in cells])
        tone, light = tones[chosen].mean(0), shadings[chosen].mean()
        print(f"{cell:16s} {chosen.sum():4d}  tone {tone.round(3)}  mean shading {light:.3f}")


def assemble(components: Components, texels: NDArray[np.bool_], place: Layout) -> dict[str, NDArray]:
    """The arrays of the asset: mean, and basis in 8 bits with a scale for each component.

    Skin that portraits do not show continues the skin around it. Eyes, teeth and the mouth's inside keep the painted
    colours of the face model.
    """
    # 1. Mean and basis side by side as one picture of many channels.
    stack = np.concatenate([components.mean[None], components.basis])
    picture = np.zeros((SIZE * SIZE, 3 * len(stack)), np.float32)
    picture[texels] = stack.transpose(1, 0, 2).reshape(texels.sum(), -1)
    skin = place.skin | place.skin[:, ::-1]
    picture = membrane(picture.reshape(SIZE, SIZE, -1), texels.reshape(SIZE, SIZE), skin)
    # 2. The other parts.
    other = place.raster.covered & ~place.skin
    with np.load(ASSETS / "openhead.npz") as data:
        painted = linear_from_pixels(data["albedo"])
    picture[other] = np.pad(painted[other], ((0, 0), (0, picture.shape[-1] - 3)))
    picture = spread_out(picture, place.raster.covered)
    # 3. Numbers as they are kept.
    textures = picture.reshape(SIZE, SIZE, -1, 3).transpose(2, 3, 0, 1)
    scale = np.abs(textures[1:]).max((1, 2, 3)) / 127
    basis = np.round(textures[1:] / scale[:, None, None, None]).astype(np.int8)
    return {"mean": textures[0].clip(0, 1).astype(np.float16), "basis": basis, "scale": scale.astype(np.float32)}


def save(asset: dict[str, NDArray], path: Path) -> None:
    """Write the asset; the archive's dates are fixed, so that equal arrays are equal bytes."""
    np.savez_compressed(path, **asset)
