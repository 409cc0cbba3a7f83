"""What ships with the package, and the registry of what the user adds."""

from instaface.assets.kinds import UnknownFile, recognise
from instaface.assets.registry import Entry, add, entries, has, home, load, remove, verify

__all__ = ["Entry", "UnknownFile", "add", "entries", "has", "home", "load", "recognise", "remove", "verify"]
