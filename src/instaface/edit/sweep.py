"""Numbers that run through a range."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from instaface.edit.edit import Edit
from instaface.errors import InstaFaceError

MAX_STEPS = 1000
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"{_NUMBER}:{_NUMBER}:\d+")


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


def sweep(options: Mapping[str, str]) -> list[Edit]:
    """Edits whose numbers run through ranges, all ranges together.

    >>> [edit.yaw for edit in sweep({"yaw": "-30:30:3", "expression": "smile=0:1:3"})]
    [-30.0, 0.0, 30.0]

    Args:
        options: fields of :class:`Edit` as text, in which any number may be written as ``start:stop:count``.

    Raises:
        InstaFaceError: no option has a range, the ranges differ in their counts, or an edit is not possible.
    """
    ranges = [parse_range(text) for value in options.values() for text in _RANGE.findall(value)]
    counts = sorted({len(values) for values in ranges})
    if not counts:
        raise InstaFaceError("a sweep needs a range in one of its options, start:stop:count, such as --yaw -30:30:7")
    if len(counts) > 1:
        raise InstaFaceError(f"ranges of a sweep run together: give them one count, not {counts[0]} and {counts[1]}")
    return [_step(options, k) for k in range(counts[0])]


def _step(options: Mapping[str, str], k: int) -> Edit:
    """The edit in which each range is at its k-th number."""
    values: dict[str, Any] = {
        name: _RANGE.sub(lambda match: repr(parse_range(match[0])[k]), value) for name, value in options.items()
    }
    return Edit(**values)
