"""Leaving a peer alone for a while that failed several times in a row: outlier ejection."""

from __future__ import annotations

import time
from collections.abc import Callable

EJECT_AFTER_FAILURES = 3
EJECT_SECONDS = 1.0
EJECT_SECONDS_MAX = 30.0

FAULTS = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})
"""Status names that say something about the peer, not about the request."""


class Ejection:
    """How a peer did lately. Each further failure leaves it alone twice as long; one success forgives all."""

    __slots__ = ("_clock", "_failures", "_until")

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    @property
    def ejected(self) -> bool:
        """Whether it is given time to recover."""
        return self._until > 0.0 and self._clock() < self._until

    def succeeded(self) -> None:
        """Notes an answer."""
        self._failures = 0
        self._until = 0.0

    def failed(self) -> None:
        """Notes a failure that is the peer's own."""
        self._failures += 1
        if self._failures >= EJECT_AFTER_FAILURES:
            times = self._failures - EJECT_AFTER_FAILURES
            self._until = self._clock() + min(EJECT_SECONDS * 2**times, EJECT_SECONDS_MAX)
