"""Transcripts that exist already, brought in as videos without media: cut into slices, embedded as if just heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from prometheus_client import Counter

from services.common.errors import Overloaded
from services.common.ids import new_video_id, slice_id
from services.common.objects import transcript_key, video_prefix
from services.common.transcript import Segment, SliceTranscript
from services.common.videos.model import Video
from services.gateway.bodies import Bodies
from services.gateway.import_form import NewTranscript, read_json
from services.gateway.import_slices import cut
from services.gateway.tidying import tidying

log = structlog.get_logger()

ASR_MODEL = "imported"
"""Stands where the recognizer's name does."""
SEGMENTS = Counter("earmark_gateway_imported_segments_total", "Segments of imported transcripts.")
_WRITES = 8


class Objects(Protocol):
    """Where transcripts are kept."""

    async def put(self, key: str, data: bytes) -> int:
        """Writes an object."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Removes all objects under `prefix`."""
        ...


class Videos(Protocol):
    """Where videos begin."""

    async def by_external_id(self, external_id: str, collection: str) -> Video | None:
        """Gives the video imported under this name, for one that would come into `collection`."""
        ...

    async def create_imported(
        self,
        video_id: str,
        *,
        title: str,
        slices: Collection[tuple[str, float, float]],
        duration: float,
        asr_model: str,
        language: str | None,
        speaker_count: int | None,
        url: str | None,
        collection: str,
        tags: Collection[str],
        external_id: str,
    ) -> Video | None:
        """Creates a video whose slices' transcripts are stored; None when there is one of this `external_id`."""
        ...


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to."""

    video: Video
    already_there: bool


@dataclass(frozen=True, slots=True)
class _Ready:
    """A transcript ready to be stored."""

    new: NewTranscript
    slices: list[tuple[str, float, float]]
    objects: list[tuple[str, bytes]]
    """Keys and bytes, one for each slice."""


def written(
    video_id: str, segments: Sequence[Segment], *, language: str, duration: float, slice_seconds: float
) -> tuple[list[tuple[str, float, float]], list[tuple[str, bytes]]]:
    """Cuts a transcript into slices: gives id, start and end of each, and keys and bytes of their transcripts."""
    slices: list[tuple[str, float, float]] = []
    objects: list[tuple[str, bytes]] = []
    for index, part in enumerate(cut(segments, duration=duration, slice_seconds=slice_seconds)):
        name = slice_id(index)
        transcript = SliceTranscript(
            video_id=video_id,
            slice_id=name,
            start=part.start,
            end=part.end,
            language=language,
            language_probability=1.0 if language else 0.0,
            asr_model=ASR_MODEL,
            segments=part.segments,
        )
        slices.append((name, part.start, part.end))
        objects.append((transcript_key(video_id, name), transcript.to_bytes()))
    return slices, objects


class Imports:
    """Creates videos of transcripts.

    The objects are written first and the document last, with all events it owes, so that a crash leaves no video half
    done. Objects it leaves without a document are never looked at; they take up room and do no other harm.

    Args:
        objects: Where slices' transcripts go.
        videos: Where the video is created.
        slice_seconds: Length of a slice aimed at.
        max_bytes: Size limit of a body.
        max_segments: Limit of segments.
        concurrency: Imports under way at once; one more is refused.
        idle_seconds: Time without a byte after which an import is given up.
    """

    def __init__(
        self,
        *,
        objects: Objects,
        videos: Videos,
        slice_seconds: float,
        max_bytes: int,
        max_segments: int,
        concurrency: int,
        idle_seconds: float,
    ) -> None:
        self._objects = objects
        self._videos = videos
        self._slice_seconds = slice_seconds
        self.max_segments = max_segments
        self._bodies = Bodies(
            "imports",
            max_bytes=max_bytes,
            too_large="import it in parts",
            concurrency=concurrency,
            idle_seconds=idle_seconds,
        )
        self.check_size, self.close = self._bodies.check_size, self._bodies.close

    async def from_stream(self, blocks: AsyncIterable[bytes]) -> Imported:
        """Imports what a JSON body says.

        Raises:
            InvalidArgument: Something in it is wrong.
            MediaTooLarge: It is over the size limit.
            Overloaded: Too many imports are under way.
            DeadlineExceeded: The bytes stopped coming.
        """
        with self._bodies.place():
            async with self._bodies.read(blocks) as body:
                return await self._create(partial(read_json, body, max_segments=self.max_segments))

    async def create(self, read: Callable[[], NewTranscript]) -> Imported:
        """Imports what `read`, called in a thread, gives.

        Raises:
            InvalidArgument: Something in it is wrong.
            Overloaded: Too many imports are under way.
        """
        with self._bodies.place():
            return await self._create(read)

    async def _create(self, read: Callable[[], NewTranscript]) -> Imported:
        video_id = new_video_id()
        ready = await self._bodies.run(self._prepare, video_id, read)
        new = ready.new
        if new.external_id:
            there = await self._videos.by_external_id(new.external_id, new.collection)
            if there is not None:
                return Imported(there, already_there=True)
        try:
            await self._put(ready.objects)
        except BaseException:
            await asyncio.shield(self._remove(video_id))
            raise
        # Should this fail, nobody knows whether the document is there: its objects stay.
        created = await self._videos.create_imported(
            video_id,
            title=new.title,
            slices=ready.slices,
            duration=new.duration,
            asr_model=ASR_MODEL,
            language=new.language or None,
            speaker_count=new.speaker_count,
            url=new.url or None,
            collection=new.collection,
            tags=new.tags,
            external_id=new.external_id,
        )
        if created is None:  # another import of it was quicker
            await self._remove(video_id)
            there = await self._videos.by_external_id(new.external_id, new.collection)
            if there is None:
                raise Overloaded(f"{new.external_id!r} is just being deleted; try again", retry_after_seconds=1)
            return Imported(there, already_there=True)
        SEGMENTS.inc(len(new.segments))
        log.info("video_imported", video_id=video_id, segments=len(new.segments), slices=len(ready.slices))
        return Imported(created, already_there=False)

    def _prepare(self, video_id: str, read: Callable[[], NewTranscript]) -> _Ready:
        new = read()
        slices, objects = written(
            video_id,
            new.segments,
            language=new.language,
            duration=new.duration,
            slice_seconds=self._slice_seconds,
        )
        return _Ready(new, slices, objects)

    async def _put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for at in range(0, len(objects), _WRITES):
            await asyncio.gather(*(self._objects.put(key, data) for key, data in objects[at : at + _WRITES]))

    async def _remove(self, video_id: str) -> None:
        with tidying(video_id):
            await self._objects.delete_prefix(video_prefix(video_id))
