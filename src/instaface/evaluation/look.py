"""The fixed sheet: the same edits of the same faces, to look at after every change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instaface.edit import Edit
from instaface.errors import InstaFaceError
from instaface.evaluation.cases import Case, find_photos
from instaface.evaluation.run import in_processes
from instaface.evaluation.sheets import Tile, sheet
from instaface.evaluation.systems import SystemOptions, open_system
from instaface.photo import FORMATS, atomic_write, check_output

# Validation faces that are hard in different ways: glasses, braids, short and long and curly hair, an open mouth, a
# headband, a fringe, dark skin, hard light, beards, a cap, a tilted head.
FIXED = (
    *("0108", "0198", "0252", "0450", "1080", "1278", "1440"),
    *("1782", "2556", "2592", "2844", "3024", "3186", "3510"),
)
TILE = 288  # pixels


def fixed_photos(inputs: Sequence[Path]) -> list[Path]:
    """The photos of a sheet: of a folder with ``faces`` and ``real`` the fixed faces and all real photos, else all."""
    photos: list[Path] = []
    for entry in inputs:
        if (entry / "faces").is_dir():
            photos += [photo for photo in find_photos([entry / "faces"]) if photo.stem in FIXED]
            photos += find_photos([entry / "real"]) if (entry / "real").is_dir() else []
        else:
            photos += find_photos([entry])
    return photos


@dataclass(frozen=True)
class Row:
    """One photo of the sheet and what is done to it."""

    photo: Path
    grid: dict[str, Edit]
    system: SystemOptions


def make_sheet(
    photos: Sequence[Path],
    grid: dict[str, Edit],
    system: SystemOptions,
    output: Path,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write one picture: a row a photo, the source and then its edits.

    Raises:
        InstaFaceError: the output's format is unknown or its folder not there.
    """
    from PIL import Image

    check_output(output)
    rows: dict[str, list[Tile]] = {}
    for name, tiles in in_processes(sheet_row, [Row(photo, grid, system) for photo in photos], workers):
        rows[name] = tiles
        advance(1)
    pixels = sheet([rows[photo.stem] for photo in photos], TILE)
    with atomic_write(output) as file:
        Image.fromarray(pixels).save(file, FORMATS[output.suffix.lower()], quality=90)
    return output


def sheet_row(row: Row) -> tuple[str, list[Tile]]:
    """Name of a photo and its tiles; an edit that fails leaves a grey tile."""
    from instaface.edit.apply import apply
    from instaface.evaluation.regions import view
    from instaface.evaluation.run import face_model
    from instaface.photo import read_photo
    from instaface.track import track

    photo = read_photo(row.photo)
    faces = track(photo)
    if not faces:
        return row.photo.stem, [(f"{row.photo.stem}: no face", _small(photo.pixels))]
    face, model = faces[0], face_model()
    tiles: list[Tile] = [(row.photo.stem, _small(view(photo.pixels, face.frame)))]
    for name, edit in row.grid.items():
        try:
            target = apply(edit, face.parameters, model)
            pixels = open_system(row.system).render(face, Case(row.photo, name, edit), target).pixels
            tiles.append((name, _small(view(pixels, face.frame))))
        except InstaFaceError as error:
            tiles.append((f"{name}: {error}", np.full((TILE, TILE, 3), 128, np.uint8)))
    return row.photo.stem, tiles


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((TILE, TILE))
    return np.asarray(image)
