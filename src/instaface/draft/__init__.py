"""The geometric edit of a photo."""

from instaface.draft.apart import take_apart
from instaface.draft.geometric import Draft, draft
from instaface.draft.region import reworked, to_be_reworked
from instaface.draft.relight import marks_of
from instaface.draft.scene import Scene

__all__ = ["Draft", "Scene", "draft", "marks_of", "reworked", "take_apart", "to_be_reworked"]
