"""The threads that one recognition may use: one, and more while other workers have nothing to do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Job(Generic[_Item, _Result]):
    """The pieces of one `map`, taken in order by whichever thread is free."""

    def __init__(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> None:
        self._work = work
        self.left = deque(enumerate(items))
        self.results: dict[int, _Result] = {}
        self.helpers: list[Future[None]] = []

    def take(self) -> tuple[int, _Item] | None:
        """Gives the next piece and its place, None when there is none."""
        try:
            return self.left.popleft()
        except IndexError:
            return None

    def do(self, piece: tuple[int, _Item]) -> None:
        """Does a piece; where it fails, what is left is not begun."""
        place, item = piece
        try:
            self.results[place] = self._work(item)
        except BaseException:
            self.left.clear()
            raise


class Lanes:
    """Does pieces of work in as many threads as are allowed at the moment, the caller's own among them.

    What comes out does not depend on the number of threads: the pieces are the same, and so is their order.

    Args:
        most: Threads there can ever be, the caller's included.
    """

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self._width = 1
        self._lock = threading.Lock()
        self._open: list[_Job[Any, Any]] = []
        self._helpers = 0
        self._threads = ThreadPoolExecutor(max_workers=max(1, most - 1), thread_name_prefix="lane")

    def allow(self, width: int) -> None:
        """Says how many threads there may be from now on; one that is too many ends after its piece."""
        with self._lock:
            self._width = min(width, self.most)
            for job in self._open:
                self._help(job)

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Gives what `work` gives for each item, in the order of the items.

        `work` may call this itself: there are never more threads than are allowed.

        Raises:
            Exception: What `work` raised; then nothing more is begun, and nothing is running any more.
        """
        job = _Job(work, items)
        with self._lock:
            self._open.append(job)
        try:
            while (piece := job.take()) is not None:
                with self._lock:
                    self._help(job)
                job.do(piece)
        finally:
            with self._lock:
                self._open.remove(job)
            failures = [helper.exception() for helper in job.helpers]
        for failure in filter(None, failures):
            raise failure
        return [job.results[place] for place in range(len(job.results))]

    def _help(self, job: _Job[Any, Any]) -> None:
        """Starts the threads that are allowed and can find work. The caller holds the lock."""
        for _ in range(min(len(job.left), self._width - 1 - self._helpers)):
            self._helpers += 1
            job.helpers.append(self._threads.submit(self._lane, job))

    def _lane(self, job: _Job[Any, Any]) -> None:
        try:
            while self._helpers < self._width and (piece := job.take()) is not None:
                job.do(piece)
        finally:
            with self._lock:
                self._helpers -= 1
