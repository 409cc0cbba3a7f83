"""Writing photos: whole or not at all, with what belongs to them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from instaface.errors import InstaFaceError
from instaface.photo import metadata
from instaface.photo.photo import Photo

if TYPE_CHECKING:
    from PIL import Image

# The formats that can carry the note that a picture was edited.
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
JPEG_QUALITY = 95  # where the source gives no quantisation tables
WEBP_QUALITY = 95


@dataclass(frozen=True)
class EditedPhoto:
    """An edited photo: new pixels over the photo that they come from.

    Attributes:
        pixels: (H, W, 3) uint8, in the colours of the original's profile.
        original: the photo before the edit.
        source_type: IPTC digital source type that the written file will name.
        alpha: (H, W) uint8 opacity after the edit, or None where the photo is opaque.
    """

    pixels: NDArray[np.uint8]
    original: Photo
    source_type: str = metadata.HUMAN_EDITS
    alpha: NDArray[np.uint8] | None = None

    def save(self, path: str | Path) -> Path:
        """Write to ``path``; see :func:`write_photo`."""
        return write_photo(replace(self.original, alpha=self.alpha), path, self.pixels, self.source_type)

    def to_pil(self) -> Image.Image:
        """A Pillow image with transparency and the original's profile."""
        return _to_pil(replace(self.original, alpha=self.alpha), self.pixels)


def write_photo(
    photo: Photo, path: str | Path, pixels: NDArray[np.uint8] | None = None, source_type: str = metadata.HUMAN_EDITS
) -> Path:
    """Write ``pixels`` in place of a photo's own, in the format that the suffix of ``path`` names.

    Colour profile, camera metadata (EXIF) and XMP are kept, transparency where the format has it (else the picture
    is laid on white). A JPEG made from a JPEG keeps its quantisation tables and chroma subsampling. Channels have
    8 bits. Pixels equal to the photo's own are no edit: the file is copied byte for byte if the format stays, and
    nothing is marked; otherwise the XMP names the IPTC digital source type.

    The file appears whole or not at all: it is written under a temporary name in the same folder, then renamed.

    Args:
        photo: the photo before the edit.
        path: where to.
        pixels: (H, W, 3) uint8, or None for the photo's own.
        source_type: URI of the digital source type, see :mod:`instaface.photo.metadata`.

    Returns:
        The path.

    Raises:
        InstaFaceError: the format is unknown or cannot say that the picture was edited, or the folder is missing
            or not writable.
    """
    path = Path(path)
    edited = pixels is not None and not np.array_equal(pixels, photo.pixels)
    if not edited and photo.encoded is not None and _same_format(photo, path):
        data = photo.encoded
    else:
        check_output(path)
        xmp = metadata.mark_xmp(photo.xmp, source_type) if edited else photo.xmp
        data = _encode(photo, photo.pixels if pixels is None else pixels, FORMATS[path.suffix.lower()], xmp)
    with atomic_write(path) as file:
        file.write(data)
    return path


def write_made(
    pixels: NDArray[np.uint8], path: str | Path, icc: bytes | None = None, source_type: str = metadata.HUMAN_EDITS
) -> Path:
    """Write a picture that was put together from edited photos, such as a contact sheet, and mark it as edited.

    Args:
        pixels: (H, W, 3) uint8.
        path: where to; the suffix names the format.
        icc: colour profile of the pixels, None for sRGB.
        source_type: URI of the digital source type.
    """
    path = Path(path)
    check_output(path)
    data = _encode(Photo(pixels, icc=icc), pixels, FORMATS[path.suffix.lower()], metadata.mark_xmp(None, source_type))
    with atomic_write(path) as file:
        file.write(data)
    return path


def check_output(path: Path) -> None:
    """Raise the error that :func:`write_photo` would raise for this path's format, before any work is done."""
    if path.suffix.lower() not in FORMATS:
        known = " ".join(FORMATS)
        raise InstaFaceError(f"{path} cannot be written: unknown output format {path.suffix!r}, use one of {known}")


def check_folder(path: Path) -> None:
    """Raise the error that :func:`atomic_write` would raise for a missing folder, or one that cannot be written to."""
    if not path.parent.exists():
        raise _no_folder(path)
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise InstaFaceError(
            f"{path} cannot be written ({path.parent} is no folder that can be written to): choose another place"
        )


def _no_folder(path: Path) -> InstaFaceError:
    return InstaFaceError(f"{path} cannot be written: the folder {path.parent} does not exist, create it")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it appears whole or not at all.

    Raises:
        InstaFaceError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with temporary.open("xb") as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileNotFoundError:
        raise _no_folder(path) from None
    except OSError as error:
        reason = error.strerror or error
        raise InstaFaceError(f"{path} cannot be written ({reason}): choose another place with -o") from None


def _same_format(photo: Photo, path: Path) -> bool:
    from PIL import Image

    Image.init()
    suffixes = {".heic": "HEIF", ".heif": "HEIF"} | Image.EXTENSION
    return photo.format is not None and suffixes.get(path.suffix.lower()) == photo.format


def _to_pil(photo: Photo, pixels: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    if photo.icc:
        image.info["icc_profile"] = photo.icc
    return image


def _encode(photo: Photo, pixels: NDArray[np.uint8], format: str, xmp: bytes | None) -> bytes:
    image = _to_pil(photo, pixels)
    options: dict[str, Any] = {"icc_profile": photo.icc} if photo.icc else {}
    if format == "JPEG":
        image = _flatten(image)
        options |= _jpeg_options(photo)
    elif format == "WEBP":
        options |= {"quality": WEBP_QUALITY, "method": 4, "exact": True}
    options |= _metadata_options(photo.exif, xmp, format)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _metadata_options(exif: bytes | None, xmp: bytes | None, format: str) -> dict[str, Any]:
    """The save options that carry EXIF and XMP, which Pillow has in three ways."""
    from PIL import Image, PngImagePlugin

    if format == "TIFF":
        tags = Image.Exif()
        if exif:
            tags.load(exif)
        if xmp:
            tags[700] = xmp
        return {"tiffinfo": tags}  # uncompressed: Pillow's compressing writer cannot carry the camera's part of EXIF
    options: dict[str, Any] = {"exif": exif} if exif else {}
    if format == "PNG":
        if xmp:
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        return options
    return options | ({"xmp": xmp} if xmp else {})


def _jpeg_options(photo: Photo) -> dict[str, Any]:
    if photo.jpeg is None:
        return {"quality": JPEG_QUALITY, "subsampling": 0}
    coding = photo.jpeg
    # The default quality stands for the tables; without a known subsampling, the colours are kept whole.
    return {"qtables": coding.tables, "subsampling": max(coding.subsampling, 0), "progressive": coding.progressive}


def _flatten(image: Image.Image) -> Image.Image:
    """Lay a transparent picture on white, for formats that have no transparency."""
    from PIL import Image

    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
