"""Which of the gateways does what one of them is enough for: sweeping, and whatever else keeps the mesh tidy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Work = Callable[[], Awaitable[None]]


class Leadership(Protocol):
    """Decides who leads."""

    async def lead(self, work: Work) -> None:
        """Runs `work` whenever, and only as long as, this process leads; for ever.

        `work` may be ended at any point and begun again elsewhere, so each thing it does is whole by itself, and doing
        it twice changes nothing. What it raises is raised.
        """
        ...


class EveryoneLeads:
    """Without anybody to elect a leader each process does the work: it is such that any number may."""

    async def lead(self, work: Work) -> None:
        """Runs `work`."""
        await work()
