"""Reading, cropping, compositing and writing photos."""

from instaface.photo.composite import composite
from instaface.photo.photo import JpegCoding, Photo
from instaface.photo.read import MAX_MEGAPIXELS, READABLE_SUFFIXES, read_photo
from instaface.photo.write import (
    FORMATS,
    EditedPhoto,
    atomic_write,
    check_folder,
    check_output,
    write_made,
    write_photo,
)

__all__ = [
    "FORMATS",
    "MAX_MEGAPIXELS",
    "READABLE_SUFFIXES",
    "EditedPhoto",
    "JpegCoding",
    "Photo",
    "atomic_write",
    "check_folder",
    "check_output",
    "composite",
    "read_photo",
    "write_made",
    "write_photo",
]
