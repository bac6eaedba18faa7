"""A wait that passes too early or gives up silently would hide every failure behind it."""

import pytest

from tests.support import eventually, eventually_sync


async def test_returns_the_first_truthy_answer_of_a_plain_function() -> None:
    answers = iter([None, 0, [], "ready", "later"])
    assert await eventually(lambda: next(answers)) == "ready"


async def test_awaits_an_async_function_and_retries_its_assertions() -> None:
    calls = 0

    async def asked() -> int:
        nonlocal calls
        calls += 1
        assert calls >= 3
        return calls

    assert await eventually(asked) == 3


async def test_gives_up_with_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"the index did not come true in 0\.05 s; last answer: 0"):
        await eventually(lambda: 0, timeout=0.05, message="the index")


async def test_another_exception_ends_the_wait_at_once() -> None:
    calls: list[int] = []

    def broken() -> bool:
        calls.append(1)
        raise ValueError("a bug, not a delay")

    with pytest.raises(ValueError, match="a bug"):
        await eventually(broken, timeout=5)
    assert calls == [1]


def test_sync_retries_what_it_is_told_to() -> None:
    calls: list[int] = []

    def refused_twice() -> bool:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionRefusedError
        return True

    assert eventually_sync(refused_twice, retry_on=(ConnectionRefusedError,))
    assert len(calls) == 3
