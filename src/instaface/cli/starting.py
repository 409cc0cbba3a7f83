"""Loading what edits faces, in less time than plain imports take: most of a short command is loading."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

LIBRARY = "libtorch_cpu.so"  # PyTorch's largest one by far


def import_torch() -> None:
    """Imports PyTorch, which is linked on another core while other packages are imported."""
    if "torch" in sys.modules:
        return
    threading.Thread(target=_link, daemon=True).start()
    import numba  # noqa: F401
    import scipy.sparse.linalg  # noqa: F401
    import torch  # noqa: F401


def _link() -> None:
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return
    with contextlib.suppress(OSError):  # other systems call it otherwise: then the import links it
        ctypes.CDLL(str(Path(torch.origin).parent / "lib" / LIBRARY))


@contextlib.contextmanager
def keeping_all() -> Iterator[None]:
    """For imports: without the search for garbage, which would go through all modules again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
