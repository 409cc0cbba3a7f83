"""InstaFace: identity-preserving face editing from a single photo.

>>> from instaface import Editor, Edit
>>> editor = Editor()
>>> face = editor.track("photo.jpg")[0]
>>> editor.edit(face, Edit(yaw=20)).image.save("out.png")

The names are imported when they are first used, so that ``import instaface`` stays fast.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# PyTorch's threads sleep between its operations; by default they spin, and take the cores from the other threads of an
# edit. Its OpenMP reads this once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_EXPORTS = {
    "Edit": "instaface.edit",
    "Editor": "instaface.editor",
    "EditResult": "instaface.editor",
    "FaceParameters": "instaface.face",
    "InstaFaceError": "instaface.errors",
    "OpenHead": "instaface.face",
    "Photo": "instaface.photo",
    "TrackedFace": "instaface.track",
    "track": "instaface.track",
}

__all__ = [
    "Edit",
    "EditResult",
    "Editor",
    "FaceParameters",
    "InstaFaceError",
    "OpenHead",
    "Photo",
    "TrackedFace",
    "track",
]

if TYPE_CHECKING:
    from instaface.edit import Edit
    from instaface.editor import Editor, EditResult
    from instaface.errors import InstaFaceError
    from instaface.face import FaceParameters, OpenHead  # type: ignore[attr-defined]
    from instaface.photo import Photo
    from instaface.track import TrackedFace, track  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'instaface' has no attribute {name!r}")
