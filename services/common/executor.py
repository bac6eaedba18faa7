"""Blocking work, off the event loop, in a named and bounded pool of threads."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from services.common.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class BoundedExecutor:
    """Threads with a bounded queue: when it is full, work is refused before it waits.

    Args:
        name: Name of the pool, seen in thread names and errors.
        threads: Threads, which is how much runs at once.
        queue: Calls that may wait beyond those running.
        niceness: How far its threads, and those that they start, stand back behind others where cores are few, 0 to 19;
            Linux alone has that for threads.
    """

    def __init__(self, name: str, *, threads: int, queue: int, niceness: int = 0) -> None:
        self._name = name
        self._limit = threads + queue
        self._pending = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=_stand_back, initargs=(niceness,))

    @property
    def pending(self) -> int:
        """Calls running or waiting."""
        return self._pending

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `function` in the pool.

        Raises:
            Overloaded: The queue is full.
        """
        if self._pending >= self._limit:
            raise Overloaded(
                f"{self._name} has {self._pending} calls pending; try again shortly", retry_after_seconds=0.2
            )
        self._pending += 1
        # The slot is given back when the work ends, not when its caller goes away: it still holds a thread.
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        future.add_done_callback(self._release)
        return await asyncio.shield(future)

    def _release(self, future: asyncio.Future[T]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # seen, in case the caller went away

    def close(self) -> None:
        """Ends the threads after the calls under way; calls that still wait are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _stand_back(niceness: int) -> None:
    if niceness and sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))
