"""Parameters taken from another face."""

from __future__ import annotations

from collections.abc import Iterable

from instaface.edit.edit import DRIVEN, parse_driven
from instaface.face import FaceParameters


def drive(parameters: FaceParameters, driver: FaceParameters, what: str | Iterable[str] = DRIVEN) -> FaceParameters:
    """A face with some of its parameters taken from another one; identity and albedo are never taken.

    The pose is the head's absolute angles. The light keeps the brightness of the driven photo, measured by the mean
    shading over all directions: its direction, contrast and colour are taken.

    Args:
        parameters: the face that is driven, batch of 1.
        driver: the face that drives, of the same model.
        what: any of "pose", "expression", "light", "gaze", as a list or as text with commas.

    Raises:
        InstaFaceError: ``what`` names something else.
    """
    parts = parse_driven(what)
    changes = {}
    if "pose" in parts:
        changes["head"] = driver.head
    if "expression" in parts:
        changes["expression"], changes["jaw"] = driver.expression, driver.jaw
    if "gaze" in parts:
        changes["gaze"] = driver.gaze
    if "light" in parts:
        own, other = (p.light[:, :1].mean().clip(1e-6) for p in (parameters, driver))
        changes["light"] = driver.light * (own / other)
    return parameters.replace(**changes)
