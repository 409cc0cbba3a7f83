"""What ships with the package, and the registry of what the user adds."""

from instaface.assets.registry import Entry, add, entries, has, home, load, remove, verify

__all__ = ["Entry", "add", "entries", "has", "home", "load", "remove", "verify"]
