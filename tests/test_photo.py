"""Photos are read whatever they are, and come back with all that belongs to them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from instaface.errors import InstaFaceError
from instaface.photo import EditedPhoto, Photo, composite, read_photo, write_photo
from instaface.photo import metadata as meta
from instaface.photo import read as reader
from instaface.photo.metadata import GENERATIVE_EDITS, HUMAN_EDITS, digital_source_type, mark_xmp

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
SMOOTH = np.stack(np.meshgrid(np.arange(0, 240, 5), np.arange(0, 160, 5)), -1).sum(-1)[..., None] // 3 + [0, 40, 80]
SMOOTH = SMOOTH.astype(np.uint8)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif_with(tags: dict | None = None, details: dict | None = None) -> Image.Exif:
    exif = Image.Exif()
    for key, value in (tags or {}).items():
        exif[key] = value
    exif.get_ifd(ExifTags.IFD.Exif).update(details or {})
    return exif


def rgb_profile() -> bytes:
    """A profile that is not sRGB: sRGB's with another description, told apart by its bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"s\x00R\x00G\x00B", b"P\x003\x00 \x00")


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message and message
    return message


# Reading


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_every_format_is_read(format):
    image = Image.fromarray(SMOOTH)
    photo = read_photo(encoded(image, format, **({"lossless": True} if format == "WEBP" else {})))
    assert photo.pixels.shape == SMOOTH.shape and photo.pixels.dtype == np.uint8 and photo.format == format
    tolerance = {"GIF": 40, "JPEG": 16}.get(format, 0)
    assert np.abs(photo.pixels.astype(int) - SMOOTH).max() <= tolerance


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RGB[..., 0]), np.repeat(RGB[..., :1], 3, -1)),
        (Image.fromarray(RGB[..., 0].astype(np.uint16) * 256 + 7), np.repeat(RGB[..., :1], 3, -1)),
        (Image.fromarray(RGB).quantize(256), None),
        (Image.fromarray(RGB[..., 0] > 127), np.repeat((RGB[..., :1] > 127) * 255, 3, -1)),
    ],
    ids=["grey", "16-bit grey", "palette", "bilevel"],
)
def test_other_pixel_layouts_become_rgb(image, expected):
    photo = read_photo(encoded(image, "PNG"))
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.pixels, np.asarray(image.convert("RGB")) if expected is None else expected)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_sixteen_bit_colour_keeps_its_upper_bits():
    wide = (RGB.astype(np.uint16) * 256 + 99).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", 16, 12, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    np.testing.assert_array_equal(read_photo(data).pixels, RGB)


def test_cmyk_becomes_rgb_and_loses_a_profile_that_no_longer_fits():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    photo = read_photo(encoded(image, "JPEG", quality=100))
    assert photo.pixels[4, 4].tolist() == pytest.approx([255, 0, 0], abs=4)
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = grey[:16] + b"CMYK" + grey[20:]  # a profile that calls itself CMYK and is none
    assert read_photo(encoded(image, "JPEG", icc_profile=grey)).icc is None


def test_alpha_is_kept_and_of_an_animation_the_first_frame_is_taken():
    rgba = np.dstack([RGB, RGB[..., 0]])
    photo = read_photo(encoded(Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(photo.alpha, rgba[..., 3])
    np.testing.assert_array_equal(photo.pixels, RGB)
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    first = read_photo(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert first.pixels.shape == (7, 9, 3) and (first.pixels == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_brought_in_line(orientation, tmp_path):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores the upright picture so
    stored = Image.fromarray(RGB)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = exif_with({274: orientation, 271: "Maker"}, {40962: stored.width, 40963: stored.height})
    photo = read_photo(encoded(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(photo.pixels, RGB)
    written = Image.open(write_photo(photo, tmp_path / "out.png", 255 - photo.pixels)).getexif()
    assert written[274] == 1 and written[271] == "Maker"
    details = written.get_ifd(ExifTags.IFD.Exif)
    assert (details[40962], details[40963]) == (16, 12)


def test_arrays_images_and_photos_are_accepted():
    from_array = read_photo(RGB)
    np.testing.assert_array_equal(from_array.pixels, RGB)
    assert from_array.pixels is not RGB
    np.testing.assert_array_equal(read_photo(Image.fromarray(RGB)).pixels, RGB)
    np.testing.assert_array_equal(read_photo(RGB[..., 0].astype(np.uint16) * 256).pixels[..., 2], RGB[..., 0])
    assert read_photo(from_array) is from_array
    assert read_photo(np.zeros((1, 1, 3), np.uint8)).width == 1
    for wrong in (RGB.astype(np.float32), RGB[None], RGB[:0]):
        with pytest.raises(InstaFaceError, match="array of shape"):
            read_photo(wrong)


def test_heic_is_read_with_the_extra_and_named_without(monkeypatch):
    heif = pytest.importorskip("pillow_heif", reason="needs the extra 'heic'")
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(SMOOTH)).save(buffer, quality=95)
    photo = read_photo(buffer.getvalue())
    assert photo.format == "HEIF" and np.abs(photo.pixels.astype(int) - SMOOTH).mean() < 4
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    # Other libraries register the reader with Pillow as soon as it is installed.
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    with pytest.raises(InstaFaceError, match=r"instaface\[heic\]") as error:
        read_photo(buffer.getvalue())
    one_line(error)


# Bad input


def test_what_is_no_photo_is_said_in_one_line(tmp_path):
    good = encoded(Image.fromarray(SMOOTH).resize((400, 300)), "JPEG")
    cases = {
        "missing.jpg": (None, "does not exist"),
        "empty.jpg": (b"", "is empty"),
        "cut.jpg": (good[: len(good) // 2], "cut off"),
        "cut.png": (encoded(Image.fromarray(RGB), "PNG")[:200], "cut off"),
        "text.jpg": (b"this is a letter, not a picture\n" * 20, "known format"),
        "header.jpg": (good[:3], "known format"),
    }
    for name, (data, message) in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InstaFaceError, match=message) as error:
            read_photo(path)
        assert name in one_line(error)
    with pytest.raises(InstaFaceError, match="is a folder"):
        read_photo(tmp_path)


def test_decompression_bombs_are_refused_before_they_are_decoded(monkeypatch):
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IEND", b""))
    huge = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    with pytest.raises(InstaFaceError, match="160 megapixels") as error:
        read_photo(huge)
    one_line(error)
    monkeypatch.setattr(reader, "MAX_MEGAPIXELS", 0.0001)  # 100 pixels
    with pytest.raises(InstaFaceError, match="16 x 12 pixels"):
        read_photo(encoded(Image.fromarray(RGB), "PNG"))


@pytest.mark.slow
def test_a_photo_of_108_megapixels_is_read(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("RGB", (12000, 9000), (90, 120, 150)).save(path)
    assert read_photo(path).pixels.shape == (9000, 12000, 3)


def test_floating_point_pixels_are_refused():
    with pytest.raises(InstaFaceError, match="floating-point"):
        read_photo(Image.fromarray(RGB[..., 0].astype(np.float32)))


# EXIF focal length


def test_focal_length_from_exif():
    def focal(size, **details):
        tags = {ExifTags.Base[name].value: value for name, value in details.items()}
        return meta._focal_from_tags(tags, *size)

    assert focal((3600, 2400), FocalLengthIn35mmFilm=50) == pytest.approx(5000)
    assert focal((2400, 3600), FocalLengthIn35mmFilm=50) == pytest.approx(5000)
    # A sensor of 36 mm with 6000 pixels, the picture made smaller to 3000: 50 mm are 50 / 36 of the width.
    plane = {"FocalPlaneXResolution": 6000 / 36 * 25.4, "FocalPlaneResolutionUnit": 2, "FocalLength": 50}
    assert focal((3000, 2000), ExifImageWidth=6000, ExifImageHeight=4000, **plane) == pytest.approx(50 / 36 * 3000)
    assert focal((2000, 2000), FocalLengthIn35mmFilm=50, ExifImageWidth=6000, ExifImageHeight=4000) is None
    assert focal((3000, 2000), FocalLengthIn35mmFilm=65535) is None


def test_focal_length_survives_reading_and_nonsense_does_not_matter():
    image = Image.new("RGB", (360, 240))
    assert read_photo(encoded(image, "JPEG", exif=exif_with({}, {41989: 50}))).focal == pytest.approx(500)
    assert read_photo(encoded(image, "JPEG")).focal is None
    assert read_photo(encoded(image, "JPEG", exif=b"Exif\x00\x00nonsense")).focal is None


# Writing


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profile_metadata_and_mark_are_written(suffix, tmp_path):
    exif = exif_with({271: "Maker", 315: "Artist", 274: 1}, {33437: 2.8, 41989: 50, 37500: b"maker's own"})
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="archive 7"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    photo = read_photo(encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif, icc_profile=rgb_profile(), xmp=xmp))
    back = read_photo(EditedPhoto(255 - photo.pixels, photo).save(tmp_path / f"out{suffix}"))
    assert back.icc == rgb_profile() and back.focal == photo.focal
    tags = Image.open(tmp_path / f"out{suffix}").getexif()
    assert tags[271] == "Maker" and tags[315] == "Artist"
    assert float(tags.get_ifd(ExifTags.IFD.Exif)[33437]) == pytest.approx(2.8)
    assert digital_source_type(back.xmp) == HUMAN_EDITS
    assert b"archive 7" in back.xmp
    tolerance = {".jpg": 12, ".webp": 12}.get(suffix, 0)
    assert np.abs(back.pixels.astype(int) - (255 - photo.pixels.astype(int))).max() <= tolerance


def test_a_thumbnail_of_the_unedited_face_does_not_survive(tmp_path):
    thumbnail = encoded(Image.new("RGB", (16, 12), "red"), "JPEG")
    # Little-endian EXIF by hand: IFD0 with the orientation, IFD1 with the thumbnail.
    ifd0 = struct.pack("<H", 1) + struct.pack("<HHIHH", 274, 3, 1, 1, 0) + struct.pack("<I", 26)
    ifd1 = struct.pack("<H", 2) + struct.pack("<HHII", 513, 4, 1, 56) + struct.pack("<HHII", 514, 4, 1, len(thumbnail))
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + ifd0 + ifd1 + struct.pack("<I", 0) + thumbnail
    photo = read_photo(encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif))
    assert thumbnail in photo.encoded
    out = write_photo(photo, tmp_path / "out.jpg", 255 - photo.pixels)
    assert thumbnail not in out.read_bytes()


@pytest.mark.parametrize(("format", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".gif"), ("BMP", ".bmp")])
def test_no_edit_copies_the_bytes(format, suffix, tmp_path):
    data = encoded(Image.fromarray(SMOOTH), format)
    photo = read_photo(data)
    assert write_photo(photo, tmp_path / f"a{suffix}").read_bytes() == data
    assert write_photo(photo, tmp_path / f"b{suffix}", photo.pixels.copy()).read_bytes() == data


def test_no_edit_in_another_format_keeps_the_pixels_and_marks_nothing(tmp_path):
    photo = read_photo(encoded(Image.fromarray(SMOOTH), "JPEG"))
    back = read_photo(write_photo(photo, tmp_path / "out.png"))
    np.testing.assert_array_equal(back.pixels, photo.pixels)
    assert digital_source_type(back.xmp) is None


@pytest.mark.parametrize(("quality", "subsampling"), [(60, 2), (93, 0)])
def test_a_jpeg_keeps_its_compression(quality, subsampling, tmp_path):
    data = encoded(Image.fromarray(SMOOTH), "JPEG", quality=quality, subsampling=subsampling)
    photo = read_photo(data)
    back = read_photo(write_photo(photo, tmp_path / "out.jpg", np.flipud(photo.pixels)))
    assert back.jpeg == photo.jpeg


def test_alpha_comes_back_or_is_laid_on_white(tmp_path):
    rgba = np.dstack([RGB, np.zeros((12, 16), np.uint8)])
    photo = read_photo(encoded(Image.fromarray(rgba), "PNG"))
    assert (read_photo(write_photo(photo, tmp_path / "a.webp", 255 - RGB)).alpha == 0).all()
    assert (read_photo(write_photo(photo, tmp_path / "a.jpg", 255 - RGB)).pixels == 255).all()


def test_writing_fails_in_one_line_and_leaves_nothing(tmp_path):
    photo = Photo(RGB)
    (tmp_path / "file").write_text("")
    for path, message in [
        (tmp_path / "out.xyz", r"unknown output format '\.xyz', use one of \.jpg"),
        (tmp_path / "out.bmp", "unknown output format"),
        (tmp_path / "out", "unknown output format ''"),
        (tmp_path / "none" / "out.png", "does not exist"),
        (tmp_path / "file" / "out.png", "cannot be written"),
    ]:
        with pytest.raises(InstaFaceError, match=message) as error:
            write_photo(photo, path, 255 - RGB)
        one_line(error)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InstaFaceError, match="cannot be written"):
        write_photo(photo, tmp_path / "folder.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_an_existing_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"before")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(InstaFaceError, match="No space left"):
        write_photo(Photo(RGB), path)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


# XMP


def test_a_generated_picture_goes_on_saying_so_and_marks_do_not_pile_up():
    once = mark_xmp(None, GENERATIVE_EDITS)
    twice = mark_xmp(once, HUMAN_EDITS)
    assert digital_source_type(twice) == GENERATIVE_EDITS and twice.count(b"DigitalSourceType") == 1
    assert digital_source_type(mark_xmp(mark_xmp(None, HUMAN_EDITS), GENERATIVE_EDITS)) == GENERATIVE_EDITS
    assert digital_source_type(mark_xmp(b"<broken", HUMAN_EDITS)) == HUMAN_EDITS


# Compositing


def test_composite_touches_only_what_the_mask_names():
    mask = np.zeros((5, 6), np.float32)
    mask[1:3, 2:4] = [[1, 0.5], [0.25, 1]]
    part = np.full((5, 6, 3), 200, np.uint8)
    before = RGB.copy()
    out = composite(RGB, part, mask, x=4, y=3)
    np.testing.assert_array_equal(RGB, before)
    changed = np.zeros((12, 16), bool)
    changed[4:6, 6:8] = True
    np.testing.assert_array_equal(out[~changed], RGB[~changed])
    np.testing.assert_array_equal(out[4, 6], part[0, 0])
    np.testing.assert_array_equal(out[4, 7], np.rint((RGB[4, 7].astype(float) + 200) / 2))
    with pytest.raises(ValueError, match="does not fit"):
        composite(RGB, part, mask, x=12, y=3)


def test_composite_fades_where_the_photo_goes_on():
    photo, part = np.zeros((40, 60, 3), np.uint8), np.full((30, 20, 3), 200, np.uint8)
    out = composite(photo, part, np.ones((30, 20), np.float32), x=0, y=10, fade=5)[..., 0]
    assert (out[20:, :10] == 200).all()  # the photo ends at the left and at the bottom: nothing fades there
    assert (np.diff(out[10:16, 5].astype(int)) > 0).all() and 0 < out[10, 5] < 20  # the top edge
    assert (np.diff(out[25, 14:20].astype(int)) < 0).all() and 0 < out[25, 19] < 20  # the right edge
    assert (out[:10] == 0).all() and (out[:, 20:] == 0).all()
