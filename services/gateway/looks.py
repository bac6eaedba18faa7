"""Asking peers how they are, again and again, such that one that does not answer delays no look at the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

AGAIN_SECONDS = 0.5


async def keep_looking(
    peers: Callable[[], Iterable[T]],
    look: Callable[[T], Awaitable[bool]],
    *,
    every_seconds: float,
    wake: asyncio.Event | None = None,
) -> None:
    """Looks at every peer, for ever; at one whose last look is not over yet no second time.

    Nearly all looks find what the last one found, and are a large part of what an idle mesh does. So who is well is
    looked at seldom, and who is not as often as is of use. And those that are well are looked at all together, also by
    others of this process: a machine is woken up once for all of them.

    Args:
        peers: Gives the peers of the moment.
        look: Looks at one and says whether it is well. What it raises ends everything.
        every_seconds: Time between two looks at one that is well. At another it is `AGAIN_SECONDS` at most.
        wake: Set when there are new peers, which are looked at then.
    """
    wake = wake or asyncio.Event()
    again_seconds = min(every_seconds, AGAIN_SECONDS)
    rounds = round(every_seconds / again_seconds)
    under_way: dict[T, asyncio.Task[None]] = {}
    well: set[T] = set()
    looked_in = -1
    time = asyncio.get_running_loop().time

    async def looking(peer: T) -> None:
        well.discard(peer)
        if await look(peer):
            well.add(peer)

    async with asyncio.TaskGroup() as group:
        while True:
            wake.clear()
            under_way = {peer: task for peer, task in under_way.items() if not task.done()}
            present = list(peers())
            well.intersection_update(present)
            turn = int(time() / again_seconds)
            for peer in present:
                if peer not in under_way and (peer not in well or turn // rounds != looked_in):
                    under_way[peer] = group.create_task(looking(peer))
            looked_in = turn // rounds
            try:
                async with asyncio.timeout_at((turn + 1) * again_seconds):
                    await wake.wait()
            except TimeoutError:
                continue
