"""Turns: the one that has had the least goes first."""

import asyncio
from collections import Counter

import pytest

from services.transcriber.turns import Turns
from tests.support import eventually


async def test_who_has_had_the_least_goes_first() -> None:
    turns, order = Turns(1), []

    async def work(name: str, pieces: int, had: int) -> None:
        for count in range(had, had + pieces):
            async with turns.turn(count):
                order.append(name)
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in ("long", "longer", "longest"):
            group.create_task(work(name, 20, had=100))
        await eventually(lambda: len(order) >= 10)
        begun = len(order)
        group.create_task(work("short", 10, had=0))
    # It waits for the turn that is being had, and then has every other one.
    assert order[begun : begun + 22].count("short") == 10
    assert Counter(order) == {"long": 20, "longer": 20, "longest": 20, "short": 10}


async def test_as_many_as_allowed_have_one_at_once() -> None:
    turns, running, most = Turns(2), 0, 0

    async def work(had: int) -> None:
        nonlocal running, most
        async with turns.turn(had):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

    await asyncio.gather(*(work(n) for n in range(9)))
    assert most == 2


async def test_who_gives_up_waiting_leaves_its_turn_to_the_next() -> None:
    turns = Turns(1)
    entered = asyncio.Event()

    async def wait() -> None:
        async with turns.turn(0):
            entered.set()

    async with turns.turn(0):
        gone, stays = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    await asyncio.wait_for(stays, timeout=5)
    assert entered.is_set()
    # Also one that is given its turn and cancelled at the same moment gives it back.
    async with turns.turn(0):
        late = asyncio.create_task(wait())
        await asyncio.sleep(0)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await asyncio.wait_for(wait(), timeout=5)
