"""A number that runs through a range."""

from __future__ import annotations

import math

from instaface.errors import InstaFaceError

MAX_STEPS = 1000


def parse_range(text: str) -> list[float]:
    """``start:stop:count`` as ``count`` numbers in equal steps, both ends included.

    >>> parse_range("-30:30:7")
    [-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0]

    Raises:
        InstaFaceError: it is not of this form, or not finite, or has less than 2 or more than 1000 steps.
    """
    form = f"{text!r} is not a range, write start:stop:count, such as -30:30:7"
    try:
        first, last, steps = text.split(":")
        start, stop, count = float(first), float(last), int(steps)
    except ValueError:
        raise InstaFaceError(form) from None
    if not (math.isfinite(start) and math.isfinite(stop)):
        raise InstaFaceError(form)
    if not 2 <= count <= MAX_STEPS:
        raise InstaFaceError(f"{text!r} has {count} steps, allowed are 2 to {MAX_STEPS}")
    return [start + (stop - start) * k / (count - 1) for k in range(count)]
