"""What ships with the package, and the registry of what the user adds."""

from pathlib import Path

from instaface.assets.kinds import UnknownFile, recognise
from instaface.assets.registry import Entry, add, entries, has, home, load, remove, verify

MINI = Path(__file__).parent / "mini"  # the embedded model

__all__ = ["MINI", "Entry", "UnknownFile", "add", "entries", "has", "home", "load", "recognise", "remove", "verify"]
