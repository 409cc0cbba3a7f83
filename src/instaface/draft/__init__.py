"""The geometric edit of a photo."""

from instaface.draft.geometric import Draft, draft
from instaface.draft.scene import Scene, take_apart

__all__ = ["Draft", "Scene", "draft", "take_apart"]
