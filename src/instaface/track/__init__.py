"""From a photo to numbers."""

from instaface.track.tracked import Frame, Matte, TrackedFace

__all__ = ["Frame", "Matte", "TrackedFace"]
