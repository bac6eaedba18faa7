"""Who of many goes on next: whoever has had the least."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets a few at once do a piece of their work; of those that wait, the one that has had the least goes first.

    Who has just had a turn does not wait for the next one yet when it is given, so two take turns whatever they have
    had. Nobody starves: the count of who waits stands still, while the others' grow past it.

    Args:
        limit: How many may have a turn at once.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, had: float) -> AsyncIterator[None]:
        """Waits for a turn, and has it for the block.

        Args:
            had: How much the caller has had until now, in whatever all callers count in.
        """
        await self._take(had)
        try:
            yield
        finally:
            self._give()

    async def _take(self, had: float) -> None:
        if self._free:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (had, next(self._order), future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give()  # it was this one's turn already
            raise

    def _give(self) -> None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
                return
        self._free += 1
