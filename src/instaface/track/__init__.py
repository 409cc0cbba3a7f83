"""From a photo to numbers."""

from instaface.track.track import track
from instaface.track.tracked import Frame, Matte, TrackedFace

__all__ = ["Frame", "Matte", "TrackedFace", "track"]
