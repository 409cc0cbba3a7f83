"""``python -m instaface``."""

from instaface.cli import main

main()
