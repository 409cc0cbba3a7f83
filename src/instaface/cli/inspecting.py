"""``instaface inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from instaface.cli import console
from instaface.photo import check_output, read_photo, write_made

if TYPE_CHECKING:
    from instaface.photo import Photo

SHOWN_WEIGHTS = 6


def run(path: Path, as_json: bool, draw: Path | None) -> None:
    """Show the faces of a photo."""
    if draw:
        check_output(draw)
    photo = read_photo(path)
    editor = console.editor()
    from instaface.cli.report import describe_face
    from instaface.editor import choose

    with console.about(path), console.working("Finding faces"):
        faces = choose(editor.track(photo), "all")
    described = [describe_face(face, editor.model) for face in faces]
    if as_json:
        print(json.dumps({"photo": str(path), **_photo(photo), "faces": described}, indent=2))
    else:
        console.out.print(_table(path, photo, described))
    if draw:
        from instaface.cli.pictures import draw_faces

        write_made(draw_faces(faces, editor.model), draw, photo.icc)


def _photo(photo: Photo) -> dict[str, Any]:
    return {"width": photo.width, "height": photo.height, "focal_from_exif": photo.focal}


def _table(path: Path, photo: Photo, faces: list[dict[str, Any]]) -> Table:
    focal = f"focal length {photo.focal:.0f} px from EXIF" if photo.focal else "focal length assumed"
    table = Table(title=f"{path.name}: {photo.width} x {photo.height}, {focal}", title_justify="left")
    for column in ("face", "size", "yaw", "pitch", "roll", "gaze", "expression", "light from", "fit error"):
        table.add_column(column, justify="left" if column == "expression" else "right")
    for face in faces:
        x0, y0, x1, y1 = face["box"]
        strongest = sorted(face["expression"].items(), key=lambda item: -item[1])[:SHOWN_WEIGHTS]
        gaze = [sum(pair) / 2 for pair in zip(face["gaze"]["left"], face["gaze"]["right"], strict=True)]
        light = face["light"]
        table.add_row(
            str(face["index"]),
            f"{x1 - x0:.0f} x {y1 - y0:.0f}",
            *(f"{face['head'][name]:+.0f}" for name in ("yaw", "pitch", "roll")),
            f"{gaze[0]:+.0f}, {gaze[1]:+.0f}",
            ", ".join(f"{name} {weight:.2f}" for name, weight in strongest),
            f"{light['azimuth']:+.0f}, {light['elevation']:+.0f}",
            f"{face['fit_error_percent']:.1f} %",
        )
    return table
