"""``instaface inspect``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instaface.cli import console
from instaface.photo import check_output, read_photo, write_made

if TYPE_CHECKING:
    from instaface.photo import Photo

SHOWN_WEIGHTS = 6


def run(path: Path, as_json: bool, draw: Path | None, face_model: str) -> None:
    """Show the faces of a photo."""
    if draw:
        check_output(draw)
    photo = read_photo(path)
    editor = console.editor(face_model)
    from instaface.cli.report import describe_face
    from instaface.editor import choose

    with console.about(path), console.working("Finding faces"):
        faces = choose(editor.track(photo), "all")
    described = [describe_face(face, editor.model) for face in faces]
    if as_json:
        print(json.dumps({"photo": str(path), **_photo(photo), "faces": described}, indent=2))
    else:
        for line in _lines(path, photo, described):
            console.out.print(line, markup=False)
    if draw:
        from instaface.cli.pictures import draw_faces

        write_made(draw_faces(faces, editor.model), draw, photo.icc)


def _photo(photo: Photo) -> dict[str, Any]:
    return {"width": photo.width, "height": photo.height, "focal_from_exif": photo.focal}


def _lines(path: Path, photo: Photo, faces: list[dict[str, Any]]) -> Iterator[str]:
    focal = f"focal length {photo.focal:.0f} px from EXIF" if photo.focal else "focal length not in EXIF, assumed"
    yield f"{path.name}: {photo.width} x {photo.height}, {focal}, {len(faces)} face{'s' * (len(faces) > 1)}"
    for face in faces:
        x0, y0, x1, y1 = face["box"]
        gaze = [sum(pair) / 2 for pair in zip(face["gaze"]["left"], face["gaze"]["right"], strict=True)]
        light, strongest = face["light"], sorted(face["expression"].items(), key=lambda item: -item[1])
        yield f"face {face['index']}: {x1 - x0:.0f} x {y1 - y0:.0f} at ({x0:.0f}, {y0:.0f})"
        yield "  head        " + "  ".join(f"{name} {angle:+.0f}" for name, angle in face["head"].items())
        yield f"  gaze        {gaze[0]:+.0f}, {gaze[1]:+.0f}"
        yield f"  light       from azimuth {light['azimuth']:+.0f}, elevation {light['elevation']:+.0f}"
        yield "  expression  " + ", ".join(f"{name} {weight:.2f}" for name, weight in strongest[:SHOWN_WEIGHTS])
        yield f"  fit error   {face['fit_error_percent']:.1f} % of the distance between the eyes"
