"""Sheets, strips, animations and drawings."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from instaface.errors import InstaFaceError
from instaface.photo import atomic_write
from instaface.photo.metadata import HUMAN_EDITS

if TYPE_CHECKING:
    from instaface.face import MorphableModel
    from instaface.render import Maps
    from instaface.track import TrackedFace

Pixels = NDArray[np.uint8]
INK, PAPER, GAP = (30, 30, 30), (255, 255, 255), 8
GIF_SIDE, STRIP_HEIGHT = 640, 384  # pixels; animations and strips are for looking at


def sheet(rows: Sequence[Sequence[tuple[str, Pixels]]], height: int) -> Pixels:
    """Captioned pictures in rows, each scaled to ``height`` pixels; (H, W, 3) uint8."""
    size = max(12, height // 24)
    font = ImageFont.load_default(size)
    caption = size * 2 if any(text for row in rows for text, _ in row) else 0
    scaled = [[(text, _scaled(pixels, height)) for text, pixels in row] for row in rows]
    width = max(sum(image.width + GAP for _, image in row) for row in scaled) + GAP
    page = Image.new("RGB", (width, len(rows) * (height + caption + GAP) + GAP), PAPER)
    draw, y = ImageDraw.Draw(page), GAP
    for row in scaled:
        x = GAP
        for text, image in row:
            page.paste(image, (x, y))
            draw.text((x + image.width / 2, y + height + caption / 2), text, INK, font=font, anchor="mm")
            x += image.width + GAP
        y += height + caption + GAP
    return np.array(page)


def _scaled(pixels: Pixels, height: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    width = max(1, round(image.width * height / image.height))
    return image if image.height == height else image.resize((width, height), Image.Resampling.LANCZOS)


def write_gif(frames: Sequence[Pixels], path: Path, fps: float) -> None:
    """An endless animation, there and back."""
    images = [_scaled(pixels, min(GIF_SIDE, len(pixels))) for pixels in [*frames, *frames[-2:0:-1]]]
    options = {"save_all": True, "append_images": images[1:], "duration": round(1000 / fps), "loop": 0}
    with atomic_write(path) as file:
        images[0].save(file, "GIF", comment=f"edited: {HUMAN_EDITS}".encode(), **options)


def find_ffmpeg(path: Path) -> str:
    """The ffmpeg on the PATH, which is to write ``path``."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise InstaFaceError(f"{path} cannot be written: MP4 needs ffmpeg on the PATH, install it or write a .gif")
    return ffmpeg


def write_mp4(frames: Sequence[Pixels], path: Path, fps: float) -> None:
    """H.264 by the ffmpeg that is on the PATH.

    Raises:
        InstaFaceError: there is no ffmpeg, or it fails.
    """
    ffmpeg = find_ffmpeg(path)
    height, width = frames[0].shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    even = "crop=trunc(iw/2)*2:trunc(ih/2)*2"  # what the pixel format below needs
    coding = ["-vf", even, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    note = ["-metadata", f"comment=edited: {HUMAN_EDITS}"]
    temporary = path.with_name(f".{path.name}.part.mp4")
    command = [ffmpeg, "-y", "-loglevel", "error", *source, *coding, *note, str(temporary)]
    try:
        done = subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), capture_output=True)
        if done.returncode:
            reason = " ".join(done.stderr.decode(errors="replace").split())[-300:]
            raise InstaFaceError(f"{path} cannot be written: ffmpeg says {reason}")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def map_pictures(maps: Maps) -> dict[str, Pixels]:
    """Maps as pictures: normals as n / 2 + 1/2, colours sRGB-encoded, depth from near (white) to far."""
    from instaface.face.colour import srgb_from_linear

    mask = maps.mask[..., None]
    near, far = (np.min(maps.depth), np.max(maps.depth[np.isfinite(maps.depth)], initial=0))
    depth = np.where(np.isfinite(maps.depth), 1 - 0.9 * (maps.depth - near) / max(far - near, 1e-6), 0)
    labels = maps.labels / max(len(maps.label_names), 1)
    grey = {"mask": maps.mask, "depth": depth, "labels": labels}
    pictures = {name: np.repeat(values[..., None], 3, -1) for name, values in grey.items()}
    pictures["normals"] = (maps.normals / 2 + 0.5) * mask + 0.5 * (1 - mask)
    for name in ("albedo", "shading", "rendering"):
        pictures[name] = srgb_from_linear(np.clip(getattr(maps, name), 0, 1)) * mask
    return {name: (255 * np.clip(values, 0, 1) + 0.5).astype(np.uint8) for name, values in pictures.items()}


def mark_picture(marks: NDArray[np.float32]) -> Pixels:
    """Cast shadows darker and highlights lighter than mid-grey: a factor of e is 100 of 255."""
    return (127.5 + 100 * marks).clip(0, 255).astype(np.uint8)


def draw_faces(faces: Sequence[TrackedFace], model: MorphableModel) -> Pixels:
    """The photo with each face's mesh, box and numbers; small photos are enlarged."""
    photo = faces[0].photo
    smallest = min(face.box[3] - face.box[1] for face in faces)
    scale = float(np.clip(400 / smallest, 1, 4)) if max(photo.width, photo.height) < 2000 else 1.0
    image = Image.fromarray(np.ascontiguousarray(photo.pixels))
    image = image.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
    for face in faces:
        image = Image.alpha_composite(image.convert("RGBA"), _mesh_layer(face, model, image.size, scale))
        _write_numbers(image, face, scale)
    return np.array(image.convert("RGB"))


def _mesh_layer(face: TrackedFace, model: MorphableModel, size: tuple[int, int], scale: float) -> Image.Image:
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    points = np.asarray(face.camera.project(model.vertices(face.parameters)[0])[:, :2]) * scale
    faces, shown = np.asarray(model.faces), np.concatenate([model.regions[name] for name in ("skin", "eyes")])
    a, b, c = (points[corner] for corner in faces[np.isin(faces, shown).all(1)].T)
    towards = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    for triangle in np.stack([a, b, c], 1)[towards]:
        draw.polygon([tuple(corner) for corner in triangle], outline=(0, 255, 170, 80))
    return layer


def _write_numbers(image: Image.Image, face: TrackedFace, scale: float) -> None:
    draw = ImageDraw.Draw(image)
    x0, y0, x1, y1 = (v * scale for v in face.box)
    draw.rectangle((x0, y0, x1, y1), outline=(255, 200, 0), width=2)
    yaw, pitch, roll = face.parameters.head[0].tolist()
    text = f"face {face.index}   yaw {yaw:+.0f}  pitch {pitch:+.0f}  roll {roll:+.0f}   fit {face.fit_error:.1f} %"
    font = ImageFont.load_default(max(12, round((x1 - x0) / 16)))
    place = draw.textbbox((x0, y1 + 4), text, font=font)
    draw.rectangle((place[0] - 4, place[1] - 2, place[2] + 4, place[3] + 4), fill=(0, 0, 0))
    draw.text((x0, y1 + 4), text, (255, 255, 255), font=font)
