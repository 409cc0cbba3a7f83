"""A diffusion model in a process of its own, for commands.

Importing PyTorch takes two seconds in which Python does nothing else, threads or not. In a process of its own that goes
on beside the face being found.
"""

from __future__ import annotations

import gc
import signal
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.connection import Connection
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
        self._connection  # noqa: B018

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
        return self._exchange((given, photo, landmarks, seed))

    @cached_property
    def _connection(self) -> Connection:
        context = get_context("spawn")  # a fork would take locks of threads along that nobody opens
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, *self._what), daemon=True).start()
        theirs.close()
        return ours

    @cached_property
    def _settings(self) -> tuple[int, str]:
        return self._exchange(None)

    def _exchange(self, job: Any) -> Any:
        try:
            if job is not None:
                self._connection.send(job)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise InstaFaceError(
                "the diffusion model's process ended: free some memory, or use --renderer geometric"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(connection: Connection, model: str | None, personal: str | None) -> None:
    """Says the model's settings, then answers jobs until nobody asks any more; or says what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the asking process's, and ends this one with it
    gc.disable()  # what importing leaves behind is no garbage
    try:
        from instaface.diffusion.corrector import Corrector

        corrector = Corrector.load(model, personal)
    except Exception as error:
        connection.send(error)
        return
    gc.enable()
    connection.send((corrector.size, corrector.convention))
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            connection.send(corrector(*job))
        except Exception as error:
            connection.send(error)
