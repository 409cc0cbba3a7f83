"""Where the command line writes: results to standard output, progress and errors to standard error."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from instaface.diffusion.process import CorrectorProcess
from instaface.edit import Edit
from instaface.errors import InstaFaceError

if TYPE_CHECKING:
    from instaface.editor import Editor

GARBAGE = 100_000  # objects after which it is looked for: most are of modules being loaded, and none of those is any

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something takes its time."""
    with err.status(what):
        yield


@cache
def editor(face_model: str, model: str | None = None, personal: str | None = None, diffuses: bool = False) -> Editor:
    """The editor of this process; loading it takes a moment. With ``diffuses``, the diffusion renderer gets ready
    meanwhile."""
    gc.set_threshold(GARBAGE)
    corrector = CorrectorProcess(model, personal)
    if diffuses:
        corrector.start()
    with working("Loading the face model"):
        from instaface.editor import Editor

        return Editor(face_model, model, personal, corrector)


def may_diffuse(edit: Edit, renderer: str | None, face_model: str, model: str | None, driven: str = "") -> bool:
    """Whether an edit may come to the diffusion renderer, as far as can be told before the face is seen."""
    by_default = (edit.moves_head or "pose" in driven) and (model is not None or face_model == "openhead")
    return renderer == "diffusion" or (renderer is None and by_default)


@contextmanager
def about(photo: Path) -> Iterator[None]:
    """Say in an error which photo it is about."""
    try:
        yield
    except InstaFaceError as error:
        message = str(error)
        raise InstaFaceError(message if message.startswith(str(photo)) else f"{photo}: {message}") from None


def make_folder(folder: Path) -> None:
    """Make an output folder where there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InstaFaceError(f"{folder} cannot be used as a folder ({reason}): choose another") from None
