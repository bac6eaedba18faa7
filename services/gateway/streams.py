"""Bytes that come from a client: bounded in number and in silence, read ahead of whoever writes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable

from services.common.errors import DeadlineExceeded, EarmarkError

BLOCK_BYTES = 1024 * 1024
"""Size of the blocks that are hashed and written: large enough that switching threads costs nothing."""
_READ_AHEAD_BLOCKS = 4


async def bounded(
    blocks: AsyncIterable[bytes], *, idle_seconds: float, max_bytes: int, too_large: Callable[[], EarmarkError]
) -> AsyncIterator[bytes]:
    """Holds a size limit, gives up on silence, and makes blocks of a good size.

    Args:
        blocks: Blocks of any size.
        idle_seconds: Time without a byte after which it ends.
        max_bytes: Size limit of all of them.
        too_large: Says that there are more.

    Raises:
        DeadlineExceeded: No byte came for too long; all that came before were given.
    """
    total = 0
    waiting = bytearray()
    source = aiter(blocks)
    problem: Exception | None = None
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                block = await anext(source, None)
        except TimeoutError:
            problem = DeadlineExceeded(f"no byte came for {idle_seconds:g} s; upload again", reason="UPLOAD_STALLED")
            break
        except Exception as error:  # noqa: BLE001  (told once what came before it is given)
            problem = error
            break
        if block is None:
            break
        total += len(block)
        if total > max_bytes:
            problem = too_large()
            break
        waiting += block
        if len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
    if problem is not None:
        raise problem


class ReadAhead:
    """Reads some blocks ahead, so that the next comes in while one is written. Close it after use.

    Args:
        blocks: The blocks.
    """

    def __init__(self, blocks: AsyncIterable[bytes]) -> None:
        self._blocks = blocks
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_READ_AHEAD_BLOCKS)
        self._interruption: Exception | None = None
        self._reader = asyncio.create_task(self._read(), name="upload-read")
        # Not at the end of reading itself: what is cancelled before its first step does not come there.
        self._reader.add_done_callback(self._ended)

    async def next(self) -> bytes | None:
        """Gives the next block, None after the last. Raises what reading raised, once all before it is given."""
        block = await self._queue.get()
        if isinstance(block, BaseException):
            raise block
        self._room.release()
        return block

    def interrupt(self, error: Exception) -> None:
        """Has nothing more read; `next` raises this error behind what came."""
        self._interruption = error
        self._reader.cancel()

    async def close(self) -> None:
        """Ends reading."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for block in self._blocks:
            await self._room.acquire()
            self._queue.put_nowait(block)

    def _ended(self, reader: asyncio.Task[None]) -> None:
        self._queue.put_nowait(self._interruption if reader.cancelled() else reader.exception())
