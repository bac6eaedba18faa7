"""Who is well is looked at seldom, who is not often."""

import asyncio
from collections import Counter

import pytest

from services.common.tasks import cancel
from services.gateway import looks
from services.gateway.looks import keep_looking
from tests.support.waiting import eventually


async def test_one_that_is_not_well_is_looked_at_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "AGAIN_SECONDS", 0.005)
    seen = Counter[str]()

    async def look(peer: str) -> bool:
        seen[peer] += 1
        return peer == "well"

    task = asyncio.create_task(keep_looking(lambda: ["well", "sick"], look, every_seconds=3600))
    await eventually(lambda: seen["sick"] >= 20)
    assert 1 <= seen["well"] <= 2
    await cancel([task])


async def test_one_that_is_well_is_looked_at_again_and_found_to_be_so_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "AGAIN_SECONDS", 0.01)
    answers = [True, True, True, False]

    async def look(_: str) -> bool:
        return answers.pop(0)

    with pytest.raises(ExceptionGroup):  # nothing is left to answer
        await keep_looking(lambda: ["a"], look, every_seconds=0.03)


async def test_a_new_one_is_looked_at_at_once() -> None:
    wake, peers, seen = asyncio.Event(), ["a"], Counter[str]()

    async def look(peer: str) -> bool:
        seen[peer] += 1
        return True

    task = asyncio.create_task(keep_looking(lambda: peers, look, every_seconds=3600, wake=wake))
    await eventually(lambda: seen == {"a": 1})
    peers.append("b")
    wake.set()
    await eventually(lambda: seen["b"] == 1)
    await cancel([task])
