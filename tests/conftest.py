"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data: ``$INSTAFACE_DATA`` or ``../shared/data`` beside the repository; skipped without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("INSTAFACE_DATA", default))
    if not (folder / "faces.csv").is_file():
        pytest.skip(f"the development data is not at {folder}")
    return folder
