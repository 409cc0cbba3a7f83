"""A diffusion model in a process of its own, for commands.

Importing PyTorch takes two seconds in which Python does nothing else, threads or not. In a process of its own that goes
on beside the face being found.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import signal
import sys
from functools import cached_property
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

from instaface.errors import InstaFaceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from instaface.diffusion.interface import Conditions


class CorrectorProcess:
    """A :class:`~instaface.diffusion.corrector.Corrector` elsewhere. It ends with this process.

    Args:
        model: folder or hub id, by default the model that ships.
        personal: LoRA file for it.

    Raises:
        InstaFaceError: when it is first asked for something: the model cannot be loaded, or its process has ended.
    """

    def __init__(self, model: str | None = None, personal: str | None = None) -> None:
        self._what = (model, personal)

    def start(self) -> None:
        """Begins to load, in the background; else that is done when something is asked for."""
        self._process  # noqa: B018

    @property
    def size(self) -> int:
        """Longer side of the canvas that it works on, in pixels."""
        return self._settings[0]

    @property
    def convention(self) -> str:
        """How its maps are coded."""
        return self._settings[1]

    def __call__(
        self, given: Conditions, photo: NDArray[np.uint8], landmarks: NDArray[np.floating], seed: int
    ) -> NDArray[np.float32]:
        """As :meth:`instaface.diffusion.corrector.Corrector.__call__`."""
        self._settings  # noqa: B018  (what it says first)
        _send(self._process.stdin, (given, photo, landmarks, seed))
        return self._answer()

    @cached_property
    def _process(self) -> Popen[bytes]:
        # Not by multiprocessing: that would run the program's own script a second time.
        process = Popen([sys.executable, "-c", _PROGRAM, *sys.path], stdin=PIPE, stdout=PIPE)
        atexit.register(process.kill)
        _send(process.stdin, self._what)
        return process

    @cached_property
    def _settings(self) -> tuple[int, str]:
        return self._answer()

    def _answer(self) -> Any:
        answer = _receive(self._process.stdout)
        if isinstance(answer, Exception):
            raise answer
        return answer


_PROGRAM = f"import sys; sys.path[:] = sys.argv[1:]; from {__name__} import _serve; _serve()"


def _send(stream: Any, what: Any) -> None:
    try:
        pickle.dump(what, stream, pickle.HIGHEST_PROTOCOL)
        stream.flush()
    except OSError as error:
        raise _Ended from error


def _receive(stream: Any) -> Any:
    try:
        return pickle.load(stream)
    except (EOFError, pickle.UnpicklingError) as error:
        raise _Ended from error


class _Ended(InstaFaceError):
    """Nobody is at the other end."""

    def __init__(self) -> None:
        super().__init__("the diffusion model's process ended: free some memory, or use --renderer geometric")


def _serve() -> None:
    """Says the model's settings, then answers jobs until nobody asks any more; or says what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the asking process's, and ends this one with it
    gc.disable()  # what importing leaves behind is no garbage
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print is no answer
    try:
        from instaface.diffusion.corrector import Corrector

        corrector = Corrector.load(*_receive(jobs))
    except Exception as error:
        return _send(answers, error)
    gc.enable()
    _send(answers, (corrector.size, corrector.convention))
    while True:
        try:
            job = _receive(jobs)
        except _Ended:
            return None
        try:
            answer: Any = corrector(*job)
        except Exception as error:
            answer = error
        _send(answers, answer)
