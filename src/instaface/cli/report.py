"""Faces and edits as plain numbers."""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instaface import __version__
from instaface.editor import EditResult
from instaface.face import FaceParameters, MorphableModel
from instaface.track import TrackedFace

LIBRARIES = ("torch", "numpy", "mediapipe", "numba", "opencv-contrib-python-headless", "pillow")
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"instaface": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe(parameters: FaceParameters, model: MorphableModel) -> dict[str, Any]:
    """Parameters of one face: angles in degrees, positions in centimetres, all expression weights above 0.005.

    The model's own coefficients, where it has some, stand apart.
    """
    named = dict(zip(model.expression_names, parameters.expression[0].tolist(), strict=True))
    weights = {name: named.pop(name) for name in model.weight_names}
    azimuth, elevation, directionality = light_direction(parameters)
    return {
        "head": _named(("yaw", "pitch", "roll"), parameters.head[0]),
        "body": _named(("yaw", "pitch", "roll"), parameters.body[0]),
        "gaze": {side: _numbers(parameters.gaze[0, k], 2) for k, side in enumerate(("left", "right"))},
        "expression": {name: round(weight, 3) for name, weight in weights.items() if abs(weight) > 0.005},
        **({"own_expression": {name: round(value, 3) for name, value in named.items()}} if named else {}),
        **({"jaw": _numbers(parameters.jaw[0], 2)} if bool(parameters.jaw.any()) else {}),
        "light": {
            "azimuth": azimuth,
            "elevation": elevation,
            "directionality": directionality,
            "coefficients": [_numbers(row, 4) for row in parameters.light[0]],
        },
        "translation": _numbers(parameters.translation[0], 2),
        "identity": _numbers(parameters.identity[0], 3),
        "albedo": _numbers(parameters.albedo[0], 3),
    }


def describe_face(face: TrackedFace, model: MorphableModel) -> dict[str, Any]:
    """A tracked face."""
    return {
        "index": face.index,
        "box": [round(float(v), 1) for v in face.box],
        "score": round(float(face.score), 3),
        "fit_error_percent": round(float(face.fit_error), 2),
        "model": face.model,
        **describe(face.parameters, model),
        "timings": _timings(face.timings),
    }


def describe_result(result: EditResult) -> dict[str, Any]:
    """An edited face: what it was, what it became, what of the new picture the photo shows."""
    seen = result.coverage[result.mask > 0]
    shares = {
        "seen": float((seen > 0.75).mean()) if seen.size else 1.0,
        "mirrored": float(((seen > 0.25) & (seen <= 0.75)).mean()) if seen.size else 0.0,
    }
    shares["invented"] = 1 - shares["seen"] - shares["mirrored"]
    return {
        "before": describe_face(result.face, result.model),
        "after": describe(result.parameters, result.model),
        "coverage_of_edited_pixels": {name: round(share, 4) for name, share in shares.items()},
        "renderer": result.renderer,
        "seed": result.seed,
        "timings": _timings(result.timings),
    }


def light_direction(parameters: FaceParameters) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees of where most light comes from, and how directed it is (0: from everywhere).

    From the linear part of the light's luminance; the last number is its length over the mean shading.
    """
    light = np.asarray(parameters.light[0]) @ _LUMINANCE
    x, y, z = light[1:4].tolist()
    length = math.sqrt(x * x + y * y + z * z)
    if length < 1e-6:
        return 0.0, 0.0, 0.0
    azimuth, elevation = math.degrees(math.atan2(x, z)), math.degrees(math.asin(y / length))
    return round(azimuth, 1), round(elevation, 1), round(length / max(float(light[0]), 1e-6), 2)


def _numbers(values: ArrayLike, digits: int) -> list[float]:
    return [round(value, digits) for value in np.asarray(values).tolist()]


def _named(names: tuple[str, ...], values: ArrayLike) -> dict[str, float]:
    return dict(zip(names, _numbers(values, 2), strict=True))


def _timings(timings: dict[str, float]) -> dict[str, float]:
    return {name: round(seconds, 4) for name, seconds in timings.items()}
