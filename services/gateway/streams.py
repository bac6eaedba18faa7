"""Bytes that come from a client: bounded in number and in silence, read ahead of whoever writes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable

from services.common.errors import DeadlineExceeded, EarmarkError

BLOCK_BYTES = 1024 * 1024
"""Size of the blocks that are hashed and written: large enough that switching threads costs nothing."""
_GATHER_SECONDS = 1.0
"""For how long a block is gathered from a client that is slow: what is not written yet is lost with the process."""
_READ_AHEAD_BYTES = 4 * BLOCK_BYTES


async def bounded(
    blocks: AsyncIterable[bytes], *, idle_seconds: float, max_bytes: int, too_large: Callable[[], EarmarkError]
) -> AsyncIterator[bytes]:
    """Holds a size limit, and gives up on silence.

    Args:
        blocks: Blocks of any size.
        idle_seconds: Time without a byte after which it ends.
        max_bytes: Size limit of all of them.
        too_large: Says that there are more.

    Raises:
        DeadlineExceeded: No byte came for too long; all that came before were given.
    """
    total = 0
    source = aiter(blocks)
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                block = await anext(source, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no byte came for {idle_seconds:g} s; upload again", reason="UPLOAD_STALLED"
            ) from None
        if block is None:
            return
        total += len(block)
        if total > max_bytes:
            raise too_large()
        yield block


class ReadAhead:
    """Reads some bytes ahead, so that the next come in while a block is written. Close it after use.

    Args:
        blocks: Bytes in blocks of any size.
    """

    def __init__(self, blocks: AsyncIterable[bytes]) -> None:
        self._blocks = blocks
        self._waiting = bytearray()
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._problem: BaseException | None = None
        self._interruption: Exception | None = None
        self._reader = asyncio.create_task(self._read(), name="upload-read")
        # Not at the end of reading itself: what is cancelled before its first step does not come there.
        self._reader.add_done_callback(self._ended)

    async def next(self) -> bytes | None:
        """Gives the next bytes, None after the last. Raises what reading raised, once all before it is given.

        They are `BLOCK_BYTES`, or fewer from a client that is slow or has come to its end.
        """
        await self._some.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_SECONDS):
                await self._enough.wait()
        if self._waiting:
            return self._take()
        if self._problem is not None:
            raise self._problem
        return None

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
            self._waiting += block
            self._tell()
            await self._room.wait()

    def _take(self) -> bytes:
        with memoryview(self._waiting) as waiting:
            block = bytes(waiting[:BLOCK_BYTES])
        del self._waiting[:BLOCK_BYTES]
        self._tell()
        return block

    def _tell(self) -> None:
        there, ended = len(self._waiting), self._reader.done()
        for event, holds in (
            (self._some, there > 0 or ended),
            (self._enough, there >= BLOCK_BYTES or ended),
            (self._room, there < _READ_AHEAD_BYTES),
        ):
            if holds:
                event.set()
            else:
                event.clear()

    def _ended(self, reader: asyncio.Task[None]) -> None:
        self._problem = self._interruption if reader.cancelled() else reader.exception()
        self._tell()
