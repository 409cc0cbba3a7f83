"""From a photo to numbers."""

from instaface.track.tracked import Frame, Matte, TrackedFace
from instaface.track.tracker import track

__all__ = ["Frame", "Matte", "TrackedFace", "track"]
