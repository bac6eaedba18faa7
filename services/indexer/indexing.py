"""Back into the documents: which slices can be found now, and which never will."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import structlog
from prometheus_client import Counter

from services.common.errors import EarmarkError
from services.common.videos.model import SliceState, Video, VideoStatus
from services.common.videos.store import VideoStore

log = structlog.get_logger()

REFUSED = Counter("earmark_indexer_slices_refused_total", "Slices that could not be indexed, by reason.", ["reason"])

_CONCURRENT_VIDEOS = 8


class Indexing:
    """Moves slices on: indexed when they can be found, failed when they were refused.

    Args:
        videos: Where the slices are.
    """

    def __init__(self, *, videos: VideoStore) -> None:
        self._videos = videos

    async def indexed(self, slices: Iterable[tuple[Video, str]], *, sequence: int) -> None:
        """Moves slices on that can be found by all who have applied the stream up to `sequence`.

        The replica's sequence is to be advanced after this: a snapshot that had the sequence of an event whose slice
        was not moved on yet would, after a crash, leave that slice behind for good.
        """
        by_video: defaultdict[str, list[tuple[Video, str]]] = defaultdict(list)
        for video, slice_id in slices:
            by_video[video.video_id].append((video, slice_id))
        gate = asyncio.Semaphore(_CONCURRENT_VIDEOS)

        async def move_on(of_video: list[tuple[Video, str]]) -> None:
            async with gate:
                for video, slice_id in of_video:
                    await self._indexed(video, slice_id, sequence)

        async with asyncio.TaskGroup() as group:
            for of_video in by_video.values():
                group.create_task(move_on(of_video))

    async def refuse(self, video: Video, slice_id: str, error: EarmarkError) -> None:
        """Fails a slice that can never be indexed as it is. One that was indexed before stays so in its document."""
        REFUSED.labels(error.reason).inc()
        what = {"reason": error.reason, "message": error.message}
        log.error("slice_refused", video_id=video.video_id, slice_id=slice_id, **what)
        await self._videos.fail_slice(video.video_id, slice_id, stage="index", **what)

    async def _indexed(self, video: Video, slice_id: str, sequence: int) -> None:
        part = video.slice(slice_id)
        settled = video.status in {VideoStatus.READY, VideoStatus.FAILED}
        if settled and part is not None and part.state is SliceState.INDEXED:  # a replay, long since done
            return
        # Also when another replica was quicker: it may have died between moving the slice and settling the video.
        await self._videos.slice_indexed(video.video_id, slice_id, sequence=sequence, edit=part.edit if part else "")
