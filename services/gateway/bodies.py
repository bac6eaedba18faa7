"""Transcripts that come as a body: read into memory within bounds, and taken apart off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import TypeVar

from services.common.errors import DeadlineExceeded, MediaTooLarge, Overloaded
from services.common.executor import BoundedExecutor

T = TypeVar("T")

_LARGEST_AT_ONCE = 4


class Bodies:
    """Bounds for one kind of request.

    Args:
        name: What they are, in the plural: `imports`.
        max_bytes: Size limit of a body.
        too_large: What to do about a body over it.
        concurrency: Requests under way at once; one more is refused.
        idle_seconds: Time without a byte after which a body is given up.
    """

    def __init__(self, name: str, *, max_bytes: int, too_large: str, concurrency: int, idle_seconds: float) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._advice = too_large
        self._concurrency = concurrency
        self._idle_seconds = idle_seconds
        self._running = 0
        self._held_bytes = 0
        # One thread: what it does holds the interpreter's lock, and one body taken apart is memory enough.
        self._thread = BoundedExecutor(name, threads=1, queue=concurrency)

    def close(self) -> None:
        """Ends the thread."""
        self._thread.close()

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Runs what takes a body apart, in the thread."""
        return await self._thread.run(work, *args)

    def check_size(self, announced: int) -> None:
        """Refuses a body by its announced size, before a byte of it is read. Raises MediaTooLarge."""
        if announced > self._max_bytes:
            raise self._too_large()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Takes one of the places for requests under way. Raises Overloaded when there is none."""
        if self._running >= self._concurrency:
            raise self._overloaded()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    @contextlib.asynccontextmanager
    async def read(self, blocks: AsyncIterable[bytes]) -> AsyncIterator[bytearray]:
        """Reads a body, and counts it as held while the block runs.

        Raises:
            MediaTooLarge: It is over the size limit.
            DeadlineExceeded: The bytes stopped coming.
            Overloaded: Too much is held already.
        """
        body = bytearray()
        try:
            await self._fill(body, blocks)
            yield body
        finally:
            self._held_bytes -= len(body)

    async def _fill(self, body: bytearray, blocks: AsyncIterable[bytes]) -> None:
        source = aiter(blocks)
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    block = await anext(source, None)
            except TimeoutError:
                raise DeadlineExceeded(
                    f"no byte came for {self._idle_seconds:g} s; send it again", reason="UPLOAD_STALLED"
                ) from None
            if block is None:
                return
            if len(body) + len(block) > self._max_bytes:
                raise self._too_large()
            # Many small ones go at once, but only a few of the largest.
            if self._held_bytes + len(block) > _LARGEST_AT_ONCE * self._max_bytes:
                raise self._overloaded()
            body += block
            self._held_bytes += len(block)

    def _overloaded(self) -> Overloaded:
        return Overloaded(f"{self._running} {self._name} are under way; try again shortly", retry_after_seconds=1)

    def _too_large(self) -> MediaTooLarge:
        return MediaTooLarge(
            f"the transcript is over the limit of {self._max_bytes} bytes; {self._advice}",
            reason="IMPORT_TOO_LARGE",
            field="body",
            metadata={"max_bytes": str(self._max_bytes)},
        )
