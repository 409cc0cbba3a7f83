"""Face models with the trackers that estimate them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from instaface.errors import InstaFaceError
from instaface.face import MorphableModel, OpenHead
from instaface.track.tracked import TrackedFace
from instaface.track.tracker import track

FACE_MODELS = ("openhead", "flame")


def face_model(name: str) -> tuple[MorphableModel, Callable[..., list[TrackedFace]]]:
    """A face model, and what finds its parameters in photos, called as :func:`instaface.track.track`.

    Args:
        name: "openhead" (ships with the package) or "flame" (with DECA, from files that the user adds).

    Raises:
        InstaFaceError: an unknown name, or a file of FLAME or DECA was not added.
    """
    if name == "openhead":
        return OpenHead.load("numpy"), track
    if name != "flame":
        raise InstaFaceError(f"face model: unknown name {name!r}, allowed are {', '.join(FACE_MODELS)}")
    from instaface.face.flame import FLAME
    from instaface.track.deca import encoder, track_with_deca

    flame = FLAME.load()
    encoder()  # missing weights are said at once, not with the first photo
    return flame, partial(track_with_deca, flame=flame)
