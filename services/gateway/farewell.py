"""Closing connections to peers that have gone, once nothing that was begun on them can still be under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol


class Closable(Protocol):
    """A connection."""

    async def close(self) -> None:
        """Ends it."""
        ...


class Farewell:
    """Connections that nobody new is sent to.

    Args:
        linger_seconds: Longest time that what is under way takes.
        clock: Gives seconds that only grow.
    """

    def __init__(self, *, linger_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._linger = linger_seconds
        self._clock = clock
        self._leaving: list[tuple[float, Closable]] = []

    def add(self, connections: Iterable[Closable]) -> None:
        """Takes connections to close later."""
        at = self._clock() + self._linger
        self._leaving += [(at, connection) for connection in connections]

    async def close_due(self) -> None:
        """Closes those whose time has come."""
        now = self._clock()
        due = [connection for at, connection in self._leaving if at <= now]
        self._leaving = [(at, connection) for at, connection in self._leaving if at > now]
        for connection in due:
            await connection.close()

    async def close(self) -> None:
        """Closes all at once."""
        leaving, self._leaving = self._leaving, []
        for _, connection in leaving:
            await connection.close()
