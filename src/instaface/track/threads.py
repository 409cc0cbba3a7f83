"""Small matrices are multiplied on one thread."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Keeps NumPy's linear algebra from sharing out work that a thread does in the time that another one takes to wake
    up; where the cores are busy, waiting for it makes a fit a hundred times slower."""
    return _controller().limit(limits=1, user_api="blas")
