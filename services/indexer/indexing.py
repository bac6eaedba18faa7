"""Changes from documents into the replica, and back into the documents what became of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import structlog
from prometheus_client import Counter

from services.common.errors import EarmarkError
from services.common.videos.model import SliceState, Video, VideoStatus
from services.common.videos.store import VideoStore
from services.indexer.chunks import Change, ReplaceSlice
from services.indexer.replica import Replica

log = structlog.get_logger()

REFUSED = Counter("earmark_indexer_slices_refused_total", "Slices that could not be indexed, by reason.", ["reason"])

_CONCURRENT_VIDEOS = 8


class Indexing:
    """Applies changes and moves their slices on: indexed when they can be found, failed when they were refused.

    Args:
        replica: Where the changes go.
        videos: Where the slices are.
    """

    def __init__(self, *, replica: Replica, videos: VideoStore) -> None:
        self._replica = replica
        self._videos = videos

    async def apply(self, changes: Sequence[tuple[Change, Video | None]]) -> None:
        """Applies changes; with each comes the video as it was read, where there is one.

        The replica's sequence is the caller's to advance, after this: a snapshot that had the sequence of an event
        whose slice was not moved on yet would, after a crash, leave that slice behind for good.
        """
        applied = await self._replica.apply([change for change, _ in changes])
        by_video: dict[str, list[tuple[ReplaceSlice, Video, EarmarkError | None]]] = defaultdict(list)
        for place, (change, video) in enumerate(changes):
            if isinstance(change, ReplaceSlice) and video is not None:
                by_video[video.video_id].append((change, video, applied.refused.get(place)))
        gate = asyncio.Semaphore(_CONCURRENT_VIDEOS)

        async def move_on(slices: list[tuple[ReplaceSlice, Video, EarmarkError | None]]) -> None:
            async with gate:
                for change, video, error in slices:
                    if error is not None:
                        await self.refuse(video, change.slice_id, error)
                    else:
                        await self._indexed(video, change.slice_id)

        async with asyncio.TaskGroup() as group:
            for slices in by_video.values():
                group.create_task(move_on(slices))

    async def refuse(self, video: Video, slice_id: str, error: EarmarkError) -> None:
        """Fails a slice that can never be indexed as it is. One that was indexed before stays so in its document."""
        REFUSED.labels(error.reason).inc()
        what = {"reason": error.reason, "message": error.message}
        log.error("slice_refused", video_id=video.video_id, slice_id=slice_id, **what)
        await self._videos.fail_slice(video.video_id, slice_id, stage="index", **what)

    async def _indexed(self, video: Video, slice_id: str) -> None:
        part = video.slice(slice_id)
        settled = video.status in {VideoStatus.READY, VideoStatus.FAILED}
        if settled and part is not None and part.state is SliceState.INDEXED:  # a replay, long since done
            return
        # Also when another replica was quicker: it may have died between moving the slice and settling the video.
        await self._videos.slice_indexed(video.video_id, slice_id)
