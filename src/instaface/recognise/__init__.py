"""Face recognisers behind one interface: is this still the same person?"""

from __future__ import annotations

from instaface.errors import InstaFaceError
from instaface.recognise.recogniser import FaceRecogniser

__all__ = ["FaceRecogniser", "load_recogniser"]

RECOGNISERS = ("dlib", "arcface", "mobilenet")


def load_recogniser(name: str = "dlib") -> FaceRecogniser:
    """The recogniser called ``name``: "dlib" (free to use, the default), or "arcface" (non-commercial weights) or
    "mobilenet", whose weights the user adds.

    Raises:
        InstaFaceError: no such recogniser, or its weights are not there.
    """
    if name == "dlib":
        from instaface.recognise.dlib_resnet import DlibResNet

        return DlibResNet()
    if name == "arcface":
        from instaface.recognise.arcface import ArcFace

        return ArcFace()
    if name == "mobilenet":
        from instaface.recognise.mobilenet import MobileNetFace

        return MobileNetFace()
    raise InstaFaceError(f"there is no recogniser {name!r}: choose one of {', '.join(RECOGNISERS)}")
