"""``instaface sweep``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track as progress

from instaface.cli import console
from instaface.edit import Edit
from instaface.errors import InstaFaceError
from instaface.photo import FORMATS, EditedPhoto, read_photo, write_made

if TYPE_CHECKING:
    from instaface.track import Frame

ANIMATIONS = (".gif", ".mp4")


def run(
    path: Path,
    output: Path,
    edits: list[Edit],
    which: str,
    face_model: str,
    renderer: str | None,
    seed: int,
    fps: float,
) -> None:
    """Edit one photo many times and write a strip, an animation, or everything into a folder."""
    from instaface.cli.pictures import find_ffmpeg

    suffix = output.suffix.lower()
    if suffix and not output.is_dir() and suffix not in (*FORMATS, *ANIMATIONS):
        known = " ".join([*FORMATS, *ANIMATIONS])
        raise InstaFaceError(f"{output} cannot be written: unknown output format {suffix!r}, use one of {known}")
    if suffix == ".mp4" and not output.is_dir():
        find_ffmpeg(output)
    photo = read_photo(path)
    diffuses = console.may_diffuse(edits[-1], renderer, face_model, None)
    editor = console.editor(face_model, diffuses=diffuses)
    from instaface.editor import choose

    with console.about(path), console.working("Finding the face"):
        faces = choose(editor.track(photo), which)
    options: dict[str, Any] = {"renderer": renderer, "seed": seed}
    steps = progress(edits, "Editing", console=console.err, transient=True)
    images = [editor.edit_all(faces, edit, **options)[-1].image for edit in steps]
    if suffix and not output.is_dir():
        written = [_write(images, output, faces[0].frame, fps)]
    else:
        written = _write_folder(images, output, faces[0].frame, fps)
    for file in written:
        console.out.print(str(file), markup=False)


def _write(images: list[EditedPhoto], path: Path, frame: Frame, fps: float) -> Path:
    from instaface.cli import pictures

    suffix = path.suffix.lower()
    if suffix == ".gif":
        pictures.write_gif([image.pixels for image in images], path, fps)
    elif suffix == ".mp4":
        pictures.write_mp4([image.pixels for image in images], path, fps)
    else:
        rows, columns = slice(frame.y, frame.y + frame.height), slice(frame.x, frame.x + frame.width)
        row = [("", image.pixels[rows, columns]) for image in images]
        write_made(pictures.sheet([row], min(pictures.STRIP_HEIGHT, frame.height)), path, images[0].original.icc)
    return path


def _write_folder(images: list[EditedPhoto], folder: Path, frame: Frame, fps: float) -> list[Path]:
    console.make_folder(folder)
    written = [image.save(folder / f"{k:03d}.png") for k, image in enumerate(images)]
    names = ["strip.png", "sweep.gif"] + (["sweep.mp4"] if shutil.which("ffmpeg") else [])
    return written + [_write(images, folder / name, frame, fps) for name in names]
