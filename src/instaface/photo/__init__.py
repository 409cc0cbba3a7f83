"""Reading, cropping, compositing and writing photos."""

from instaface.photo.photo import Photo

__all__ = ["Photo"]
