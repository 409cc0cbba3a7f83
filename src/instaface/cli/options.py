"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class FaceModels(str, Enum):
    """What ``--face-model`` takes."""

    openhead = "openhead"
    flame = "flame"


FaceModel = Annotated[
    FaceModels,
    typer.Option(
        help="[b]openhead[/b] ships with InstaFace; [b]flame[/b] with DECA, from files added with "
        "[b]instaface assets add[/b].",
    ),
]
