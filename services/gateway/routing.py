"""Which shard is asked for which slots: the slot table, kept up with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import structlog

from services.common.slots import SlotTable, bitmap
from services.gateway.faults import known

log = structlog.get_logger()

RELOAD_SECONDS = 0.5


class Asked(NamedTuple):
    """A shard and what it is asked for."""

    shard: int
    slots: bytes
    """The slots, as in `SearchShardRequest.slots`."""
    mask: int
    """The same: bit n is slot n."""


@dataclass(frozen=True, slots=True)
class Route:
    """Whom to ask for what, by one version of the slot table: every slot of exactly one shard."""

    version: int
    owners: bytes
    shards: tuple[Asked, ...]

    @classmethod
    def of(cls, table: SlotTable) -> Self:
        """Reads a table."""
        asked = []
        for shard in table.serving:
            slots = bitmap(table.slots_of(shard))
            asked.append(Asked(shard, slots, int.from_bytes(slots, "little")))
        return cls(table.version, table.owners, tuple(asked))


@dataclass(frozen=True, slots=True)
class Freshness:
    """Events that an answer must have in."""

    slots: Mapping[int, int]
    """Stream sequence by slot, whichever shard owns it now."""
    shards: Mapping[int, int]
    """Stream sequence by shard."""

    def min_sequences(self, route: Route) -> dict[int, int]:
        """Gives what each shard has to have applied."""
        least = {asked.shard: self.shards.get(asked.shard, 0) for asked in route.shards}
        for shard, sequence in self.of_slots(route).items():
            least[shard] = max(least[shard], sequence)
        return least

    def of_slots(self, route: Route) -> dict[int, int]:
        """Gives the same for `slots` alone, for the shards that own one of them."""
        least: dict[int, int] = {}
        for slot, sequence in self.slots.items():
            shard = route.owners[slot]
            least[shard] = max(least.get(shard, 0), sequence)
        return least


ANY = Freshness({}, {})
"""As they are."""


class Routes:
    """The route of now.

    Args:
        load: Reads the slot table; None while there is none.
    """

    def __init__(self, load: Callable[[], Awaitable[SlotTable | None]]) -> None:
        self._load = load
        self._loading = asyncio.Lock()
        self.current: Route | None = None

    async def refresh(self) -> None:
        """Reads the slot table. What is known stays as it is when that raises."""
        table = await self._load()
        if table is None:
            self.current = None
        elif self.current is None or table.version != self.current.version or table.owners != self.current.owners:
            self.current = Route.of(table)

    async def other_than(self, route: Route) -> Route | None:
        """Gives a route that is not `route`, which a replica has just refused; None when there is none.

        Many searches are refused at the same moment: the table is read once for all of them.
        """
        async with self._loading:
            if self.current is route:
                try:
                    async with asyncio.timeout(RELOAD_SECONDS):
                        await self.refresh()
                except TimeoutError:
                    return None
                except Exception as error:
                    if known(error) is None:
                        raise
                    return None
        return None if self.current is route else self.current


async def keep_up(refreshes: Sequence[Callable[[], Awaitable[None]]], *, every_seconds: float) -> None:
    """Refreshes again and again, for ever. While the database is away the last that was read holds."""
    away = False
    while True:
        try:
            for refresh in refreshes:
                await refresh()
        except Exception as error:
            told = known(error)
            if told is None:
                raise
            if not away:
                log.warning("routing_not_read", reason=told.reason, message="the shards last known are asked")
            away = True
        else:
            if away:
                log.info("routing_read_again")
            away = False
        await asyncio.sleep(every_seconds)
