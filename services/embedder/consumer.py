"""Handles slice.transcribed: cuts the slice's transcript into chunks, embeds them, and puts both into the document."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import structlog

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import EarmarkError, ObjectNotFound, VideoNotFound
from services.common.events.consumer import Done, Event, Outcome, Reject
from services.common.executor import BoundedExecutor
from services.common.objects import ObjectStore, transcript_key
from services.common.transcript import SliceTranscript
from services.common.videos.model import ChunkRecord, SentenceVectors, SliceState, quantized
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
        if (edit := await self._waiting(video_id, slice_id)) is None:
            return Done()
        # Waits rather than fails: an export at the first start takes longer than an event's deliveries last.
        model = await self._batcher.loaded()
        try:
            transcript = SliceTranscript.from_bytes(await self._objects.get(transcript_key(video_id, slice_id, edit)))
        except ObjectNotFound:
            if await self._waiting(video_id, slice_id) != edit:
                return Done()  # deleted or edited meanwhile; an edit has an event of its own
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise TranscriptUnreadable(f"the transcript of slice {slice_id} cannot be read: {error}") from error
        chunks = await self._chunking.run(self._cut, transcript, model)
        known = await self._known(video_id, slice_id, model) if edit else _Known()
        texts = [text for text in dict.fromkeys(chunk.text for chunk in chunks) if text not in known.chunks]
        sentences = dict.fromkeys(sentence for chunk in chunks for sentence in chunk.sentences)
        texts += [text for text in sentences if text not in known.sentences and text not in texts]
        vectors = [vector for some in _batched(texts) for vector in await self._batcher.embed(some, TextKind.PASSAGE)]
        for text, vector in zip(texts, vectors, strict=True):
            known.chunks.setdefault(text, vector)
            known.sentences.setdefault(text, quantized(vector))
        moved = await self._videos.slice_embedded(
            video_id,
            slice_id,
            chunks=_records(transcript, video_id, slice_id, chunks, known),
            embedding_model=model.model_revision,
            edit=edit,
        )
        metrics.CHUNKS.inc(len(chunks) if moved else 0)
        log.info("slice_embedded", video_id=video_id, slice_id=slice_id, chunks=len(chunks), moved=moved)
        return Done()

    async def _waiting(self, video_id: str, slice_id: str) -> str | None:
        """Gives which edit of the slice is to be embedded; None when it was embedded before, or its video is gone."""
        try:
            part = (await self._videos.get(video_id)).slice(slice_id)
        except VideoNotFound:
            return None
        return part.edit if part is not None and part.state is SliceState.TRANSCRIBED else None

    async def _known(self, video_id: str, slice_id: str, model: EmbeddingModel) -> _Known:
        """Gives the vectors stored from before an edit, as far as they are of the same model."""
        known = _Known()
        if (await self._videos.get(video_id)).metadata.embedding_model == model.model_revision:
            for chunk in await self._videos.former_chunks(video_id, slice_id):
                known.chunks[chunk.text] = chunk.embedding
                offsets = [offset for offset, _ in chunk.sentence_marks] + [len(chunk.text)]
                spans = itertools.pairwise(offsets)
                for (begin, end), vector in zip(spans, chunk.sentence_vectors, strict=False):
                    known.sentences[chunk.text[begin:end].strip()] = vector
        return known

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


@dataclass(frozen=True, slots=True)
class _Known:
    """Vectors of texts: of chunks as they come from the model, of sentences as they are kept."""

    chunks: dict[str, Vectors] = field(default_factory=dict)
    sentences: dict[str, SentenceVectors] = field(default_factory=dict)


def _records(
    transcript: SliceTranscript, video_id: str, slice_id: str, chunks: list[Chunk], known: _Known
) -> list[ChunkRecord]:
    return [
        ChunkRecord(
            chunk_id=f"{video_id}/{slice_id}/{number:04d}",
            slice_id=slice_id,
            text=chunk.text,
            start_time=chunk.start_time,
            end_time=chunk.end_time,
            embedding=known.chunks[chunk.text],
            sentence_marks=chunk.sentence_marks,
            language=chunk.language or transcript.language,
            sentence_vectors=np.stack([known.sentences[sentence] for sentence in chunk.sentences]),
            speaker=chunk.speaker,
        )
        for number, chunk in enumerate(chunks)
    ]
