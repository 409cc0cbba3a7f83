"""Reading photos."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from instaface.errors import InstaFaceError
from instaface.photo import metadata
from instaface.photo.photo import JpegCoding, Photo

if TYPE_CHECKING:
    from PIL import Image

MAX_MEGAPIXELS = 160  # a limit against decompression bombs; the largest single-shot cameras have 151
READABLE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif"}
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def read_photo(source: str | Path | bytes | Image.Image | NDArray[Any] | Photo) -> Photo:
    """Read a photo: upright, 8 bits per channel, in its own RGB profile.

    JPEG, PNG, WebP, TIFF, BMP, GIF and whatever else the installed Pillow decodes; HEIC with the extra ``heic``.
    The EXIF orientation is applied. Of an animation or a stack of pages the first picture is taken. 16-bit channels
    keep their upper 8 bits: an edited picture has 8 bits per channel everywhere. Grey, palette and CMYK pictures
    become RGB, by their ICC profile where they carry one.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an (H, W), (H, W, 3) or (H, W, 4) array of
            uint8 or uint16. A :class:`Photo` is returned as it is.

    Raises:
        InstaFaceError: there is no such file, or it is no picture, damaged, or larger than ``MAX_MEGAPIXELS``.
    """
    from PIL import Image

    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_image(source, "the picture")
    if isinstance(source, bytes):
        return _from_bytes(source, "the picture", None)
    path = Path(source)
    return _from_bytes(_read_bytes(path), str(path), path)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise InstaFaceError(f"{path} is a folder, not a photo: name a file in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InstaFaceError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise InstaFaceError(f"{path} cannot be read ({error.strerror or error}): check the path") from None


def _from_bytes(data: bytes, name: str, path: Path | None) -> Photo:
    if not data:
        raise InstaFaceError(f"{name} is empty (0 bytes): copy it again from its source")
    with _open(data, name) as image:
        return replace(_from_image(image, name), path=path, encoded=data)


def _open(data: bytes, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
        try:
            return Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
                return _open_heif(data, name)
            raise InstaFaceError(f"{name} is not a picture in a known format: use JPEG, PNG, WebP or TIFF") from None
        except Image.DecompressionBombError:
            raise _too_large(name) from None
        except Exception as error:  # decoders raise whatever they like on damaged files
            raise _damaged(name, error) from None


def _open_heif(data: bytes, name: str) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise InstaFaceError(
            f"{name} is a HEIC picture: install its reader with pip install 'instaface[heic]'"
        ) from None
    try:
        image = pillow_heif.open_heif(io.BytesIO(data)).to_pillow()
    except Exception as error:
        raise _damaged(name, error) from None
    image.format = "HEIF"
    return image


def _from_image(image: Image.Image, name: str) -> Photo:
    """Decode: the only place where pixels and metadata leave Pillow."""
    if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
        raise _too_large(name, image.size)
    try:
        upright = _upright(image)
        icc = image.info.get("icc_profile")
        rgb, icc = _to_rgb(upright, icc, name)
        exif = metadata.upright_exif(image, upright.size)
    except InstaFaceError:
        raise
    except Exception as error:  # as above
        raise _damaged(name, error) from None
    return Photo(
        pixels=np.array(_as_mode(rgb, "RGB")),
        alpha=np.array(rgb.getchannel("A")) if rgb.mode == "RGBA" else None,
        icc=icc,
        exif=exif,
        focal=metadata.focal_in_pixels(image),
        xmp=_xmp(image),
        format="JPEG" if image.format == "MPO" else image.format,
        jpeg=_jpeg_coding(image),
    )


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image.load()  # decodes the whole file: what is damaged shows here
    return image if image.getexif().get(274, 1) == 1 else ImageOps.exif_transpose(image)


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # Pillow copies either way, and photos are large


def _to_rgb(image: Image.Image, icc: bytes | None, name: str) -> tuple[Image.Image, bytes | None]:
    """8-bit RGB or RGBA, and the profile that belongs to it."""
    from PIL import Image

    if image.mode == "F":
        raise InstaFaceError(f"{name} has floating-point pixels: save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
    has_alpha = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    if icc is None or icc[16:20] == b"RGB ":
        return _as_mode(image, "RGBA" if has_alpha else "RGB"), icc
    rgb = _to_srgb(image, icc)
    if has_alpha:
        rgb.putalpha(image.convert("RGBA").getchannel("A"))
    return rgb, None


def _to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Grey and CMYK pictures by their profile; without one that fits, by Pillow's plain conversion."""
    from PIL import ImageCms

    image = image.convert({"GRAY": "L", "CMYK": "CMYK"}.get(icc[16:20].decode("latin1"), "RGB"))
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError:
        converted = None
    return converted or image.convert("RGB")


def _xmp(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return xmp.encode() if isinstance(xmp, str) else xmp


def _jpeg_coding(image: Image.Image) -> JpegCoding | None:
    from PIL import JpegImagePlugin

    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode == "CMYK":
        return None
    tables = {key: list(table) for key, table in image.quantization.items()}
    progressive = bool(image.info.get("progressive"))
    return JpegCoding(tables, JpegImagePlugin.get_sampling(image), progressive)


def _from_array(array: NDArray[Any]) -> Photo:
    shape = array.shape
    if array.dtype not in (np.uint8, np.uint16) or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise InstaFaceError(
            f"an array of shape {shape} and type {array.dtype} is no picture: give (H, W), (H, W, 3) or (H, W, 4) uint8"
        )
    if 0 in shape:
        raise InstaFaceError(f"an array of shape {shape} has no pixels")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    return Photo(pixels=array[..., :3].copy(), alpha=array[..., 3].copy() if array.shape[2] == 4 else None)


def _too_large(name: str, size: tuple[int, int] | None = None) -> InstaFaceError:
    what = f"{size[0]} x {size[1]} pixels" if size else "too many pixels"
    return InstaFaceError(f"{name} has {what}: at most {MAX_MEGAPIXELS} megapixels, make it smaller first")


def _damaged(name: str, error: Exception) -> InstaFaceError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InstaFaceError(f"{name} is damaged or cut off ({reason}): copy it again from its source")
