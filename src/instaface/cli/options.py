"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class FaceModels(str, Enum):
    """What ``--face-model`` takes."""

    openhead = "openhead"
    flame = "flame"


class Renderers(str, Enum):
    """What ``--renderer`` takes."""

    geometric = "geometric"
    diffusion = "diffusion"


def _known_face(which: str) -> str:
    if which in ("largest", "all") or which.isdecimal():
        return which
    raise typer.BadParameter(f"{which!r} is not understood, allowed are largest, all or an index from 0")


Face = Annotated[
    str,
    typer.Option(help="[b]largest[/b], [b]all[/b], or an index from 0, largest first.", callback=_known_face),
]
Renderer = Annotated[
    Renderers | None,
    typer.Option(
        help="[b]geometric[/b]: the photo's own pixels, carried through a 3D model. "
        "[b]diffusion[/b]: the same, with what the photo does not show worked over by a diffusion model. "
        "By default diffusion where the head moves.",
        show_default=False,
    ),
]
FaceModel = Annotated[
    FaceModels,
    typer.Option(
        help="[b]openhead[/b] ships with InstaFace; [b]flame[/b] with DECA, from files added with "
        "[b]instaface assets add[/b].",
    ),
]
