"""Bytes of an upload between the network and whoever writes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from services.common.errors import Aborted, DeadlineExceeded, EarmarkError, MediaTooLarge
from services.gateway.streams import BLOCK_BYTES, ReadAhead, bounded


async def given(*blocks: bytes, then: Exception | None = None, hangs: bool = False) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block
    if then is not None:
        raise then
    if hangs:
        await asyncio.Event().wait()


def too_large() -> EarmarkError:
    return MediaTooLarge("too large")


async def read(ahead: ReadAhead) -> tuple[list[bytes], Exception | None]:
    blocks: list[bytes] = []
    try:
        while (block := await ahead.next()) is not None:
            blocks.append(block)
    except Exception as error:  # noqa: BLE001  (what is looked at)
        return blocks, error
    finally:
        await ahead.close()
    return blocks, None


async def test_small_blocks_are_gathered_and_large_ones_cut() -> None:
    data = bytes(range(256)) * 12_300  # some 3 MiB
    small = [data[at : at + 65_000] for at in range(0, len(data), 65_000)]
    for blocks in (small, [data]):
        got, problem = await read(ReadAhead(given(*blocks)))
        assert problem is None
        assert b"".join(got) == data
        assert [len(block) for block in got] == [BLOCK_BYTES, BLOCK_BYTES, BLOCK_BYTES, len(data) - 3 * BLOCK_BYTES]


async def test_what_came_before_a_connection_broke_is_given() -> None:
    got, problem = await read(ReadAhead(given(b"one", b"two", then=ConnectionResetError())))
    assert (b"".join(got), type(problem)) == (b"onetwo", ConnectionResetError)


async def test_what_came_before_an_interruption_is_given() -> None:
    ahead = ReadAhead(given(b"one", b"two", hangs=True))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ahead.interrupt(Aborted("another goes on"))
    got, problem = await read(ahead)
    assert (b"".join(got), type(problem)) == (b"onetwo", Aborted)


async def test_a_slow_client_is_not_waited_for_until_a_block_is_whole() -> None:
    ahead = ReadAhead(given(b"one", hangs=True))
    assert await asyncio.wait_for(ahead.next(), 30) == b"one"
    await ahead.close()


async def test_no_more_is_read_than_there_is_room_for() -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(BLOCK_BYTES)
            await asyncio.sleep(0)

    ahead = ReadAhead(endless())
    for _ in range(100):
        await asyncio.sleep(0)
    assert asked == 4
    assert await ahead.next() == bytes(BLOCK_BYTES)
    for _ in range(100):
        await asyncio.sleep(0)
    assert asked == 5
    await ahead.close()


async def test_bounds_are_held_and_what_came_before_them_is_given() -> None:
    limits = {"max_bytes": 8, "too_large": too_large}
    for source, idle_seconds, error in (
        (given(b"1234", b"5678", b"9"), 5.0, MediaTooLarge),
        (given(b"1234", b"5678", hangs=True), 0.01, DeadlineExceeded),
    ):
        got, problem = await read(ReadAhead(bounded(source, idle_seconds=idle_seconds, **limits)))  # type: ignore[arg-type]
        assert (b"".join(got), type(problem)) == (b"12345678", error)
