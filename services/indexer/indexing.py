"""Changes from documents into the replica, and back into the documents what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from prometheus_client import Counter

from services.common.errors import EarmarkError
from services.common.videos.model import SliceState, Video
from services.common.videos.store import VideoStore
from services.indexer.chunks import Change, ReplaceSlice
from services.indexer.replica import Replica

log = structlog.get_logger()

REFUSED = Counter("earmark_indexer_slices_refused_total", "Slices that could not be indexed, by reason.", ["reason"])

_CONCURRENT_UPDATES = 8


class Indexing:
    """Applies changes and moves their slices on: indexed when they can be found, failed when they were refused.

    Args:
        replica: Where the changes go.
        videos: Where the slices are.
    """

    def __init__(self, *, replica: Replica, videos: VideoStore) -> None:
        self._replica = replica
        self._videos = videos

    async def apply(self, changes: Sequence[tuple[Change, Video | None]], *, sequence: int | None = None) -> None:
        """Applies changes; with each comes the video as it was read, where there is one."""
        applied = await self._replica.apply([change for change, _ in changes], sequence=sequence)
        gate = asyncio.Semaphore(_CONCURRENT_UPDATES)

        async def settle(place: int, change: ReplaceSlice, video: Video) -> None:
            async with gate:
                if error := applied.refused.get(place):
                    await self.refuse(video, change.slice_id, error)
                else:
                    await self._indexed(video, change.slice_id)

        async with asyncio.TaskGroup() as group:
            for place, (change, video) in enumerate(changes):
                if isinstance(change, ReplaceSlice) and video is not None:
                    group.create_task(settle(place, change, video))

    async def refuse(self, video: Video, slice_id: str, error: EarmarkError) -> None:
        """Fails a slice that can never be indexed as it is. One that was indexed before stays so in its document."""
        REFUSED.labels(error.reason).inc()
        what = {"reason": error.reason, "message": error.message}
        log.error("slice_refused", video_id=video.video_id, slice_id=slice_id, **what)
        await self._videos.fail_slice(video.video_id, slice_id, stage="index", **what)

    async def _indexed(self, video: Video, slice_id: str) -> None:
        part = video.slice(slice_id)
        if part is not None and part.state is SliceState.INDEXED:  # another replica was quicker, or this is a replay
            return
        await self._videos.slice_indexed(video.video_id, slice_id)
