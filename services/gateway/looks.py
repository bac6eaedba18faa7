"""Asking peers how they are, again and again, such that one that does not answer delays no look at the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


async def keep_looking(
    peers: Callable[[], Iterable[T]],
    look: Callable[[T], Awaitable[None]],
    *,
    every_seconds: float,
    wake: asyncio.Event | None = None,
) -> None:
    """Looks at every peer, for ever; at one whose last look is not over yet no second time.

    Args:
        peers: Gives the peers of the moment.
        look: Looks at one. What it raises ends everything.
        every_seconds: Time between two looks.
        wake: Set when there are new peers, which are looked at then.
    """
    wake = wake or asyncio.Event()
    under_way: dict[T, asyncio.Task[None]] = {}

    async def looking(peer: T) -> None:
        await look(peer)

    async with asyncio.TaskGroup() as group:
        while True:
            wake.clear()
            under_way = {peer: task for peer, task in under_way.items() if not task.done()}
            for peer in peers():
                if peer not in under_way:
                    under_way[peer] = group.create_task(looking(peer))
            try:
                async with asyncio.timeout(every_seconds):
                    await wake.wait()
            except TimeoutError:
                continue
