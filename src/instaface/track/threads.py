"""What runs on one thread, and what on several."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

from instaface.render.rasterise import usual_threads


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Keeps NumPy's linear algebra from sharing out work that a thread does in the time that another one takes to wake
    up; where the cores are busy, waiting for it makes a fit a hundred times slower."""
    return _controller().limit(limits=1, user_api="blas")


def together(*tasks: Callable[[], Any]) -> list[Any]:
    """The results of functions of which none needs another's, run on as many threads as are usual."""
    threads = usual_threads()
    if threads == 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(task) for task in tasks]]
