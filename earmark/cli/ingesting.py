"""Ingests many videos at once, a bounded number at a time, telling a view how far each is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from earmark.cli.begun import Begun
from earmark.cli.media import Source
from earmark.client import AsyncClient, ConnectionFailed, EarmarkClientError, Video, VideoStatus

# Enough to keep the mesh busy while one uploads; more would only be more bars.
AT_ONCE = 4
_WORK_DONE = {"cut": 0.05, "transcribed": 0.7, "embedded": 0.9, "indexed": 1.0, "failed": 1.0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one source ended. `status` is `ready`, `failed`, `accepted` (not waited for) or `refused`."""

    source: Source
    status: str
    reason: str = ""
    video: Video | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether it went well."""
        return self.status in ("ready", "accepted")


class View(Protocol):
    """Shows what happens."""

    def uploading(self, source: Source, sent: int, total: int) -> None:
        """Some bytes went out."""

    def accepted(self, source: Source, video: Video) -> None:
        """The gateway has the video."""

    def progressed(self, source: Source, status: VideoStatus) -> None:
        """The mesh got further."""

    def ended(self, outcome: Outcome) -> None:
        """It is over for one source."""


async def ingest_all(client: AsyncClient, sources: Sequence[Source], view: View, *, wait: bool = True) -> list[Outcome]:
    """Ingests every source and gives the outcomes in the same order.

    Raises:
        ConnectionFailed: no gateway answers.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def one(source: Source) -> Outcome:
        async with room:
            outcome = await _ingest(client, source, view, wait=wait)
            view.ended(outcome)
            return outcome

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(source)) for source in sources]
    except* ConnectionFailed as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def work_done(status: VideoStatus) -> float | None:
    """How much of a video is done, 0..1, counting what its slices went through; None while the total is unknown."""
    if status.status == "ready":
        return 1.0
    if not status.progress.slicing_done:
        return None
    length = sum(part.end_time - part.start_time for part in status.slices)
    done = sum((part.end_time - part.start_time) * _WORK_DONE.get(part.state, 0.0) for part in status.slices)
    return done / length if length else status.progress.fraction


async def _ingest(client: AsyncClient, source: Source, view: View, *, wait: bool) -> Outcome:
    begun = time.monotonic()
    try:
        if source.path is not None:
            begun_before = Begun(
                client.base_url,
                source.path,
                source.title,
                source.collection,
                source.tags,
                sorted(source.speech.items()),
            )
            video = await client.upload(
                source.path,
                resume=begun_before.location,
                on_begun=begun_before.keep,
                title=source.title,
                collection=source.collection,
                tags=source.tags,
                captions=source.captions,
                progress=lambda sent, total: view.uploading(source, sent, total),
                **source.speech,
            )
            begun_before.forget()
        else:
            video = await client.create_from_url(
                source.url, title=source.title, collection=source.collection, tags=source.tags, **source.speech
            )
    except ConnectionFailed:
        raise
    except EarmarkClientError as error:
        return Outcome(source, "refused", f"{error.message} ({error.reason})")
    except OSError as error:
        return Outcome(source, "refused", f"{error.strerror or error}")
    view.accepted(source, video)
    if not wait:
        return Outcome(source, "accepted", video=video, seconds=time.monotonic() - begun)
    last: VideoStatus | None = None
    try:
        async for last in client.watch(video.video_id):
            view.progressed(source, last)
    except EarmarkClientError as error:
        return Outcome(source, "failed", f"{error.message} ({error.reason})", video, time.monotonic() - begun)
    seconds = time.monotonic() - begun
    if last is None or not last.settled:
        return Outcome(source, "failed", "It was deleted while it was being processed.", video, seconds)
    reason = f"{last.error.message} ({last.error.stage}: {last.error.reason})" if last.error else ""
    return Outcome(source, last.status, reason, video, seconds, tuple(warning.message for warning in last.warnings))
