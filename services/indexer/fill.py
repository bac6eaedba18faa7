"""Filling a shard from the documents: when there is no snapshot, when a slot comes, when it is built anew.

What is read goes into lots, as the database gave it. Other processes make segments of these while the next are read.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Collection

import structlog
from ulid import ULID

from services.common.tasks import cancel
from services.common.videos.store import VideoStore
from services.common.videos.stored import StoredVideo
from services.indexer.indexing import Indexing
from services.indexer.lot import LotWriter, vectors_of
from services.indexer.replica import Opened

log = structlog.get_logger()

LARGEST_LOT_BYTES = 128 << 20
"""Documents that go into one segment made here: some 30,000 chunks. What waits to be built lies in files."""
_FIRST_LOT_BYTES = 16 << 20
"""The first are smaller, each twice as large as the one before, so that building begins soon after reading."""


class Filling:
    """Fills a shard with the chunks of some slots, of which it holds nothing yet.

    Args:
        opened: The shard.
        videos: The documents.
        indexing: Told which slices can be found now, and which never will.
        end: Gives the stream's last sequence.
    """

    def __init__(
        self, opened: Opened, *, videos: VideoStore, indexing: Indexing, end: Callable[[], Awaitable[int]]
    ) -> None:
        self._compactor = opened.compactor
        self._videos = videos
        self._indexing = indexing
        self._end = end
        self._model = opened.shard.model_revision
        self._dimension = opened.shard.dimension
        self._chunks = 0
        self._shipped = 0
        self._lot: LotWriter | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, slots: Collection[int]) -> None:
        """Fills it. Raises what MongoDB and the disk raise; the slots have to be dropped before it is tried again."""
        started = time.perf_counter()
        if not self._model:
            # What most were embedded with, not what happens to be read first: the others are refused.
            models = await self._videos.embedding_models(slots)
            self._model = max(models, key=lambda model: (models[model], model), default="")
        try:
            with self._compactor.filling():
                async for stored in self._videos.scan(slots):
                    await self._take(stored)
                await self._ship()
                await self._built(0)
        finally:
            await cancel(self._under_way)
            if self._lot is not None:
                shutil.rmtree(self._lot.path.parent, ignore_errors=True)
        seconds = round(time.perf_counter() - started, 3)
        log.info("slots_filled", slots=len(slots), chunks=self._chunks, seconds=seconds)

    async def _take(self, stored: StoredVideo) -> None:
        if not self._dimension:
            model, dimension = vectors_of(stored)
            self._model = self._model or model
            self._dimension = dimension if model == self._model else 0
        if self._lot is None:
            folder = self._compactor.work / str(ULID()).lower()
            folder.mkdir(parents=True)
            self._lot = LotWriter(folder / "lot.bson")
        self._lot.add(stored)
        if self._lot.bytes >= min(_FIRST_LOT_BYTES << self._shipped, LARGEST_LOT_BYTES):
            await self._ship()

    async def _ship(self) -> None:
        """Lets the segment be built and goes on, but has no more lots than are built at once, and one."""
        await self._built(self._compactor.lots_at_once - 1)
        lot, self._lot = self._lot, None
        if lot is not None:
            self._shipped += 1
            self._under_way.add(asyncio.ensure_future(self._build(lot)))

    async def _built(self, left: int) -> None:
        """Waits until so many lots at most are under way. Raises what building one raised."""
        while len(self._under_way) > left:
            done, self._under_way = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()

    async def _build(self, lot: LotWriter) -> None:
        try:
            lot.close()
            taken = await self._compactor.take(
                lot.path, lot.videos, dimension=self._dimension, model_revision=self._model
            )
        finally:
            shutil.rmtree(lot.path.parent, ignore_errors=True)
        for video, slice_id, error in taken.refused:
            await self._indexing.refuse(video, slice_id, error)
        # The end as it is now: of what was read some came into the stream after the filling began, and a replica that
        # has followed it to a sequence of before does not have that yet.
        await self._indexing.indexed(taken.done, sequence=await self._end())
        self._chunks += taken.rows
