"""Handles slice.transcribed: cuts the slice's transcript into chunks, embeds them, and puts both into the document."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import structlog

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import EarmarkError, ObjectNotFound, VideoNotFound
from services.common.events.consumer import Done, Event, Outcome, Reject
from services.common.executor import BoundedExecutor
from services.common.objects import ObjectStore, transcript_key
from services.common.transcript import SliceTranscript
from services.common.videos.model import ChunkRecord, SliceState, quantized
from services.common.videos.store import VideoStore
from services.embedder import metrics
from services.embedder.batcher import Batcher
from services.embedder.chunker import Chunk, ChunkLimits, chunk_slice
from services.embedder.model import EmbeddingModel, TextKind, Vectors

log = structlog.get_logger()

TEXTS_AT_ONCE = 512
"""Texts of a slice that wait in the queue at once: a quarter of it, however densely a slice is spoken."""


class SliceTranscribedHandler:
    """Embeds transcribed slices. Doing one twice changes nothing.

    Args:
        videos: The documents.
        objects: Where the transcripts are.
        batcher: Embeds.
        chunking: Where transcripts are cut, off the event loop.
        target_seconds: Length of a chunk aimed at.
        max_seconds: Length of a chunk never passed.
    """

    def __init__(
        self,
        *,
        videos: VideoStore,
        objects: ObjectStore,
        batcher: Batcher,
        chunking: BoundedExecutor,
        target_seconds: float,
        max_seconds: float,
    ) -> None:
        self._videos = videos
        self._objects = objects
        self._batcher = batcher
        self._chunking = chunking
        self._target_seconds = target_seconds
        self._max_seconds = max_seconds

    async def __call__(self, event: Event) -> Outcome:
        """Handles one event."""
        message = event.message
        if not isinstance(message, pb.SliceTranscribed):
            return Reject("NOT_A_SLICE_EVENT", f"{event.subject} carries no SliceTranscribed")
        video_id, slice_id = message.video_id, message.slice_id
        if not await self._is_waiting(video_id, slice_id):
            return Done()
        # Waits rather than fails: an export at the first start takes longer than an event's deliveries last.
        model = await self._batcher.loaded()
        try:
            transcript = SliceTranscript.from_bytes(await self._objects.get(transcript_key(video_id, slice_id)))
        except ObjectNotFound:
            if not await self._is_waiting(video_id, slice_id):
                return Done()  # deleted meanwhile
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise TranscriptUnreadable(f"the transcript of slice {slice_id} cannot be read: {error}") from error
        chunks = await self._chunking.run(self._cut, transcript, model)
        sentences = [sentence for chunk in chunks for sentence in chunk.sentences]
        texts = [*(chunk.text for chunk in chunks), *sentences]
        vectors = [vector for some in _batched(texts) for vector in await self._batcher.embed(some, TextKind.PASSAGE)]
        moved = await self._videos.slice_embedded(
            video_id,
            slice_id,
            chunks=_records(transcript, video_id, slice_id, chunks, vectors),
            embedding_model=model.model_revision,
        )
        metrics.CHUNKS.inc(len(chunks) if moved else 0)
        log.info("slice_embedded", video_id=video_id, slice_id=slice_id, chunks=len(chunks), moved=moved)
        return Done()

    async def _is_waiting(self, video_id: str, slice_id: str) -> bool:
        """Whether the slice still is to be embedded; not so when it was, or its video is gone."""
        try:
            part = (await self._videos.get(video_id)).slice(slice_id)
        except VideoNotFound:
            return False
        return part is not None and part.state is SliceState.TRANSCRIBED

    def _cut(self, transcript: SliceTranscript, model: EmbeddingModel) -> list[Chunk]:
        limits = ChunkLimits(
            target_seconds=self._target_seconds, max_seconds=self._max_seconds, max_tokens=model.max_tokens
        )
        return chunk_slice(transcript, model.count_tokens, limits)


class TranscriptUnreadable(EarmarkError):
    """What lies under the transcript's key is not a transcript this code knows."""

    reason = "TRANSCRIPT_UNREADABLE"


def _batched(texts: list[str]) -> Iterator[list[str]]:
    return (texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE))


def _records(
    transcript: SliceTranscript, video_id: str, slice_id: str, chunks: list[Chunk], vectors: list[Vectors]
) -> list[ChunkRecord]:
    of_sentences = iter(vectors[len(chunks) :])
    return [
        ChunkRecord(
            chunk_id=f"{video_id}/{slice_id}/{number:04d}",
            slice_id=slice_id,
            text=chunk.text,
            start_time=chunk.start_time,
            end_time=chunk.end_time,
            embedding=vector,
            sentence_marks=chunk.sentence_marks,
            language=chunk.language or transcript.language,
            sentence_vectors=quantized(np.stack([next(of_sentences) for _ in chunk.sentence_marks])),
            speaker=chunk.speaker,
        )
        for number, (chunk, vector) in enumerate(zip(chunks, vectors[: len(chunks)], strict=True))
    ]
