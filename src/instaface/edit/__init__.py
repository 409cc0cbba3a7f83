"""What to change: edits as users say them, presets, sequences, driving by another face.

What computes with parameters (``apply``, ``interpolate``, ``sequence``, ``drive``) is in :mod:`instaface.edit.apply`
and :mod:`instaface.edit.drive`, so that the names here load nothing heavy.
"""

from instaface.edit.edit import DRIVEN, NEUTRAL, Edit, Light, parse_driven
from instaface.edit.presets import ARKIT, EXPRESSIONS, LIGHTS
from instaface.edit.sweep import parse_range, sweep

__all__ = [
    "ARKIT",
    "DRIVEN",
    "EXPRESSIONS",
    "LIGHTS",
    "NEUTRAL",
    "Edit",
    "Light",
    "parse_driven",
    "parse_range",
    "sweep",
]
