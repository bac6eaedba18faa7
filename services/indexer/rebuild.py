"""Filling a replica from the documents, when it has no snapshot that the stream still continues."""

from __future__ import annotations

import time

import structlog

from services.common.errors import EarmarkError
from services.common.events.bus import EventBus
from services.common.videos.model import Video
from services.common.videos.store import VideoStore
from services.indexer.chunks import ReplaceSlice
from services.indexer.indexing import Indexing
from services.indexer.records import INDEXABLE, replace_slice
from services.indexer.replica import Replica

log = structlog.get_logger()

_CHUNKS_AT_ONCE = 2000


async def rebuild(*, replica: Replica, indexing: Indexing, videos: VideoStore, bus: EventBus) -> None:
    """Empties the replica, fills it from the documents of its slots, and leaves it at the sequence to follow from.

    The stream's end is taken before the first document is read: what happens to a document after that is in an
    event yet to be followed, and what the document already shows by then is only done twice.
    """
    started = time.perf_counter()
    end = await bus.last_sequence()
    await replica.begin_anew()
    changes: list[tuple[ReplaceSlice, Video]] = []
    async for video, records in videos.scan(replica.place.slots):
        for part in video.slices:
            if part.state not in INDEXABLE:
                continue
            try:
                changes.append((replace_slice(video, part.slice_id, records), video))
            except EarmarkError as error:
                await indexing.refuse(video, part.slice_id, error)
        if sum(len(change.batch.chunks) for change, _ in changes) >= _CHUNKS_AT_ONCE:
            await indexing.apply(changes)
            changes.clear()
    await indexing.apply(changes)
    await replica.filled(end)
    log.info(
        "index_rebuilt",
        chunks=replica.shard.chunk_count,
        videos=replica.shard.video_count,
        applied_sequence=end,
        seconds=round(time.perf_counter() - started, 3),
    )
    await replica.snapshot()
