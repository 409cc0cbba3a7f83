"""Contact sheets: what to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from instaface.evaluation.figures import figures_of
from instaface.evaluation.plots import embed
from instaface.evaluation.run import view_path

Tile = tuple[str, Path | NDArray[np.uint8]]  # label and picture
TILE = 160  # pixels
SHEET_PHOTOS = 12
LABEL = 16  # pixels of height


def contact_sheets(folder: Path, data: pd.DataFrame) -> str:
    """A row a photo: the source, then its edits; some photos, evenly spread."""
    photos = list(dict.fromkeys(data["photo"]))
    chosen = [photos[k] for k in np.unique(np.linspace(0, len(photos) - 1, SHEET_PHOTOS).astype(int))]
    edits = [edit for edit in dict.fromkeys(data["edit"]) if edit != "zero"][:16]
    driven = bool((data["kind"].isin(("self", "cross"))).any())
    parts = ["<h2>Contact sheet</h2>"]
    rows: list[list[Tile]] = []
    for photo in chosen:
        names = list(data.loc[data["photo"] == photo, "edit"])[:8] if driven else edits
        rows.append([(photo, view_path(folder, photo))] + [(n, view_path(folder, f"{photo}__{n}")) for n in names])
    return "".join([*parts, embed(jpeg(sheet(rows)), "jpeg", "source, then its edits")])


def extremes(folder: Path, data: pd.DataFrame, count: int) -> str:
    """Best and worst rows by each figure: source and edit side by side."""
    parts = ["<h2>Best and worst cases</h2>"]
    for figure in figures_of(data.columns):
        column = figure.columns[-1]
        if figure.statistic == "slope" or figure.table == "speed":
            continue
        rows = data[[figure.concerns(kind) for kind in data["kind"]]].dropna(subset=[column])
        values = figure.badness(rows[column].to_numpy(float))
        if len(np.unique(values)) < 3:  # rates
            continue
        order = np.argsort(values, kind="stable")
        lines: list[list[Tile]] = []
        for chosen in (order[:count], order[::-1][:count]):
            line: list[Tile] = []
            for k in chosen:
                row = rows.iloc[int(k)]
                line += [(row["photo"], view_path(folder, row["photo"]))]
                line += [(f"{row['edit']}: {row[column]:.3g}", view_path(folder, row["id"]))]
            lines.append(line)
        parts.append(f"<h3>{escape(figure.name)}</h3>" + embed(jpeg(sheet(lines)), "jpeg", "best above, worst below"))
    return "".join(parts)


def sheet(rows: Sequence[Sequence[Tile]], tile: int = TILE) -> NDArray[np.uint8]:
    """Labelled pictures in rows, white where there is none: (h, w, 3) uint8."""
    from PIL import Image, ImageDraw

    width = max(len(row) for row in rows)
    canvas = Image.new("RGB", (width * tile, len(rows) * (tile + LABEL)), "white")
    draw = ImageDraw.Draw(canvas)
    for y, row in enumerate(rows):
        for x, (label, picture) in enumerate(row):
            draw.text((x * tile + 2, y * (tile + LABEL) + 2), label[: tile // 6], fill="black")
            if (image := _open(picture)) is not None:
                image.thumbnail((tile - 2, tile - 2))
                canvas.paste(image, (x * tile, y * (tile + LABEL) + LABEL))
    return np.asarray(canvas)


def jpeg(pixels: NDArray[np.uint8], quality: int = 85) -> bytes:
    """JPEG bytes of a picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _open(picture: Path | NDArray[np.uint8]) -> Any:
    from PIL import Image

    if isinstance(picture, np.ndarray):
        return Image.fromarray(picture)
    return Image.open(picture).convert("RGB") if picture.is_file() else None
