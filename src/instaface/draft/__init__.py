"""The geometric edit of a photo."""

from instaface.draft.geometric import Draft, draft
from instaface.draft.relight import marks_of
from instaface.draft.scene import Scene, take_apart

__all__ = ["Draft", "Scene", "draft", "marks_of", "take_apart"]
