"""Follows a video's state: woken by events, and by looking now and then in case one was missed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.common.errors import Overloaded, VideoNotFound
from services.common.ids import is_video_id
from services.common.videos.model import Video, VideoStatus

COALESCE_SECONDS = 0.15
_LAST = {VideoStatus.READY, VideoStatus.FAILED, VideoStatus.DELETING}


class VideoReader(Protocol):
    """Where videos are read."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...


class ChangeFeed(Protocol):
    """Says that something happened to a video."""

    def changes(self, video_id: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """Gives an event that is set whenever something happens; it may miss something."""
        ...


class Watcher:
    """Lets any number of callers follow videos.

    Args:
        videos: Where videos are read.
        feed: Wakes watchers up.
        poll_seconds: Time after which a video is looked at although nothing woke the watcher up; not every
            change of a document has an event.
        concurrency: Watches under way at once; one more is refused.
        stopping: Whether the gateway is on its way out; then all watches end, so that those who watch can go to
            another one.
        heartbeat_seconds: Silence after which a watcher is told that nothing has changed.
    """

    def __init__(
        self,
        *,
        videos: VideoReader,
        feed: ChangeFeed,
        poll_seconds: float,
        concurrency: int,
        stopping: Callable[[], bool],
        heartbeat_seconds: float = 15.0,
    ) -> None:
        self._videos = videos
        self._feed = feed
        self._poll_seconds = poll_seconds
        self._concurrency = concurrency
        self._running = 0
        self._stopping = stopping
        self._heartbeat_seconds = heartbeat_seconds

    @property
    def stopped(self) -> bool:
        """Whether watches end because the gateway stops."""
        return self._stopping()

    async def watch(self, video_id: str) -> AsyncIterator[Video | None]:
        """Gives the video now and after every change, until it is ready, failed, being deleted or gone.

        Changes that follow each other at once come as one. None means that nothing has changed for a while.

        Raises:
            VideoNotFound: There is no such video.
            Overloaded: Too many watches are under way.
        """
        if not is_video_id(video_id):  # it becomes part of a subject, where a wildcard would match other videos
            raise VideoNotFound(video_id[:64])
        if self._running >= self._concurrency:
            raise Overloaded(
                f"{self._running} watches are under way; ask for the status instead", retry_after_seconds=5
            )
        self._running += 1
        try:
            async with self._feed.changes(video_id) as changed:
                video = await self._videos.get(video_id)
                yield video
                told = time.monotonic()
                while video.status not in _LAST:
                    await self._wait(changed)
                    if self._stopping():
                        return
                    changed.clear()
                    try:
                        latest = await self._videos.get(video_id)
                    except VideoNotFound:
                        return
                    if latest.revision != video.revision:
                        video = latest
                        yield video
                        told = time.monotonic()
                    elif time.monotonic() - told >= self._heartbeat_seconds:
                        yield None
                        told = time.monotonic()
        finally:
            self._running -= 1

    async def _wait(self, changed: asyncio.Event) -> None:
        """Waits for a change, at most until the next look, and a moment longer for the changes that follow it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await changed.wait()
            await asyncio.sleep(COALESCE_SECONDS)
