"""The slot table as the gateway keeps it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from services.common.errors import Unavailable
from services.common.ids import SLOTS
from services.common.slots import SlotTable, from_bitmap
from services.gateway.routing import Freshness, Route, Routes, keep_up
from tests.support.gateway_peers import even_table
from tests.support.waiting import eventually


class Tables:
    """A slot table that changes."""

    def __init__(self, table: SlotTable | None) -> None:
        self.table = table
        self.loads = 0
        self.error: Exception | None = None

    async def load(self) -> SlotTable | None:
        self.loads += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.table


def test_every_slot_is_asked_of_exactly_one_shard() -> None:
    owners = bytes((slot * 7) % 5 for slot in range(SLOTS))
    route = Route.of(SlotTable(3, 9, owners))
    assert [asked.shard for asked in route.shards] == [0, 1, 2, 3, 4]
    slots = [slot for asked in route.shards for slot in from_bitmap(asked.slots)]
    assert sorted(slots) == list(range(SLOTS))
    assert all(asked.mask == sum(1 << slot for slot in from_bitmap(asked.slots)) for asked in route.shards)


def test_a_token_is_a_matter_of_the_shard_that_owns_its_slot() -> None:
    route = Route.of(even_table(2))
    fresh = Freshness({3: 50, 5: 70, 200: 9}, {0: 60, 7: 1000})
    assert fresh.of_slots(route) == {0: 70, 1: 9}
    assert fresh.min_sequences(route) == {0: 70, 1: 9}
    assert Freshness({3: 50}, {0: 60}).min_sequences(route) == {0: 60, 1: 0}


async def test_the_table_is_read_once_for_all_that_were_refused() -> None:
    tables = Tables(even_table(2))
    routes = Routes(tables.load)
    await routes.refresh()
    before = routes.current
    assert before is not None
    tables.table = replace(even_table(3), version=2)
    found = await asyncio.gather(*(routes.other_than(before) for _ in range(20)))
    assert {route.version for route in found if route} == {2}
    assert tables.loads == 2
    assert await routes.other_than(found[0] or before) is None, "there is nothing newer"


async def test_the_same_table_stays_the_same_route() -> None:
    tables = Tables(even_table(2))
    routes = Routes(tables.load)
    await routes.refresh()
    before = routes.current
    await routes.refresh()
    assert routes.current is before


async def test_while_the_database_is_away_the_last_table_holds_and_is_told_once() -> None:
    tables = Tables(even_table(2))
    routes = Routes(tables.load)
    with capture_logs() as logs:
        task = asyncio.create_task(keep_up([routes.refresh], every_seconds=0.001))
        try:
            await eventually(lambda: routes.current is not None)
            tables.error = Unavailable("away", reason="DATABASE_UNAVAILABLE")
            seen = tables.loads
            await eventually(lambda: tables.loads > seen + 5)
            assert routes.current is not None
            assert await routes.other_than(routes.current) is None
            tables.error, tables.table = None, even_table(3, version=2)
            await eventually(lambda: routes.current is not None and routes.current.version == 2)
        finally:
            task.cancel()
    assert [entry["event"] for entry in logs] == ["routing_not_read", "routing_read_again"]


async def test_an_error_nobody_foresaw_ends_the_task() -> None:
    tables = Tables(None)
    tables.error = KeyError("shards")
    with pytest.raises(KeyError):
        await keep_up([Routes(tables.load).refresh], every_seconds=0.001)
