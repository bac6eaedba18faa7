"""Filling a shard from the documents: when there is no snapshot, when a slot comes, when it is built anew.

What is read goes straight into segments, which another process builds while the next documents are read.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from ulid import ULID

from services.common.errors import EarmarkError, ModelMismatch
from services.common.tasks import cancel
from services.common.videos.model import ChunkRecord, SliceState, Video, VideoStatus
from services.common.videos.store import VideoStore
from services.indexer.chunks import Batch, VideoInfo
from services.indexer.columns import ColumnWriter
from services.indexer.indexing import Indexing
from services.indexer.record import encode
from services.indexer.records import INDEXABLE, slice_batch, video_info
from services.indexer.replica import Opened

log = structlog.get_logger()

ROWS_AT_ONCE = 65_536
"""Rows of a segment made here. What is read while it is built lies in files, not in memory."""


@dataclass(slots=True)
class _Lot:
    """What goes into one segment."""

    folder: Path
    writer: ColumnWriter
    infos: dict[str, VideoInfo] = field(default_factory=dict)
    done: list[tuple[Video, str]] = field(default_factory=list)


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
        self._opened = opened
        self._videos = videos
        self._indexing = indexing
        self._end = end
        self._model = opened.shard.model_revision
        self._dimension = opened.shard.dimension
        self._lot: _Lot | None = None
        self._under_way: asyncio.Task[None] | None = None

    async def run(self, slots: Collection[int]) -> None:
        """Fills it. Raises what MongoDB and the disk raise; the slots have to be dropped before it is tried again."""
        started, chunks = time.perf_counter(), 0
        if not self._model:
            # What most were embedded with, not what happens to be read first: the others are refused.
            models = await self._videos.embedding_models(slots)
            self._model = max(models, key=lambda model: (models[model], model), default="")
        try:
            async for video, records in self._videos.scan(slots):
                chunks += await self._take(video, records)
            await self._ship()
            await self._finish()
        finally:
            if self._under_way is not None:
                await cancel([self._under_way])
            if self._lot is not None:
                shutil.rmtree(self._lot.folder, ignore_errors=True)
        seconds = round(time.perf_counter() - started, 3)
        log.info("slots_filled", slots=len(slots), chunks=chunks, seconds=seconds)

    async def _take(self, video: Video, records: Sequence[ChunkRecord]) -> int:
        taken = 0
        by_slice: dict[str, list[ChunkRecord]] = {}
        for record in records:
            by_slice.setdefault(record.slice_id, []).append(record)
        for part in video.slices:
            if part.state not in INDEXABLE:
                continue
            try:
                batch = self._checked(slice_batch(video, part.slice_id, by_slice.get(part.slice_id, ())))
            except EarmarkError as error:
                await self._indexing.refuse(video, part.slice_id, error)
                continue
            lot = self._add(batch)
            if batch.chunks:
                lot.infos[video.video_id] = video_info(video)
            # Also one that is moved on already: who did it may have died before the video was settled.
            if part.state is SliceState.EMBEDDED or video.status is VideoStatus.PROCESSING:
                lot.done.append((video, part.slice_id))
            taken += len(batch.chunks)
        if self._lot is not None and self._lot.writer.rows >= ROWS_AT_ONCE:
            await self._ship()
        return taken

    def _checked(self, batch: Batch) -> Batch:
        batch = batch.checked()
        if not batch.chunks:
            return batch
        self._model = self._model or batch.model_revision
        if batch.model_revision == self._model:
            self._dimension = self._dimension or batch.vectors.shape[1]
        if (batch.model_revision, batch.vectors.shape[1]) != (self._model, self._dimension):
            raise ModelMismatch(
                f"the index holds vectors of {self._model} with {self._dimension} numbers, these are of "
                f"{batch.model_revision} with {batch.vectors.shape[1]}; embed everything again with one model",
                metadata={"index_model": self._model, "model": batch.model_revision},
            )
        return batch

    def _add(self, batch: Batch) -> _Lot:
        if self._lot is None:
            folder = self._opened.compactor.work / str(ULID()).lower()
            folder.mkdir(parents=True)
            self._lot = _Lot(folder, ColumnWriter(folder))
        lot = self._lot
        for chunk in batch.chunks:
            lot.writer.add(
                encode(chunk),
                chunk.sentence_vectors,
                video_id=chunk.video_id,
                language=chunk.language,
                speaker=chunk.speaker,
            )
        if batch.chunks:
            lot.writer.add_vectors(batch.vectors)
        return lot

    async def _ship(self) -> None:
        """Lets the segment be built and goes on; waits for the one before, so that two lots exist at most."""
        await self._finish()
        lot, self._lot = self._lot, None
        if lot is not None:
            self._under_way = asyncio.ensure_future(self._build(lot))

    async def _finish(self) -> None:
        if self._under_way is not None:
            await self._under_way
            self._under_way = None

    async def _build(self, lot: _Lot) -> None:
        lot.writer.close(self._dimension)
        try:
            if lot.writer.rows:
                await self._opened.compactor.add(
                    lot.folder, lot.infos, rows=lot.writer.rows, dimension=self._dimension, model_revision=self._model
                )
        finally:
            shutil.rmtree(lot.folder, ignore_errors=True)
        # The end as it is now: of what was read some came into the stream after the filling began, and a replica that
        # has followed it to a sequence of before does not have that yet.
        await self._indexing.indexed(lot.done, sequence=await self._end())
