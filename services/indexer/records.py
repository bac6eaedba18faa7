"""From the chunks of a video document to a change of the shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from services.common.errors import InvalidArgument
from services.common.videos.model import ChunkRecord, SliceState, Video
from services.indexer.chunks import Batch, Chunk, ReplaceSlice, Vectors, VideoInfo

INDEXABLE = frozenset({SliceState.EMBEDDED, SliceState.INDEXED})
"""States of a slice whose chunks count."""


def slice_batch(video: Video, slice_id: str, records: Sequence[ChunkRecord]) -> Batch:
    """Gives the chunks of one slice as the index takes them.

    Raises:
        InvalidArgument: The vectors are of different lengths.
    """
    if len({record.embedding.shape for record in records}) > 1:
        raise InvalidArgument(f"the vectors of slice {slice_id} are of different lengths", field="chunks.vector")
    vectors = np.stack([record.embedding for record in records]) if records else np.empty((0, 0), np.float32)
    return Batch([_chunk(record) for record in records], vectors, video.metadata.embedding_model or "")


def replace_slice(video: Video, slice_id: str, records: Iterable[ChunkRecord]) -> ReplaceSlice:
    """Gives the change that makes the index hold just these chunks of a slice.

    Args:
        video: The video.
        slice_id: The slice.
        records: Chunks of the video; those of other slices are passed over.

    Raises:
        InvalidArgument: The vectors are of different lengths.
    """
    mine = [record for record in records if record.slice_id == slice_id]
    return ReplaceSlice(video.video_id, slice_id, video_info(video), slice_batch(video, slice_id, mine))


def replace_all(video: Video, records: Sequence[ChunkRecord]) -> list[ReplaceSlice]:
    """Gives the changes that make the index hold every slice of a video that is embedded."""
    return [replace_slice(video, part.slice_id, records) for part in video.slices if part.state in INDEXABLE]


def video_info(video: Video) -> VideoInfo:
    """Gives what the index knows of a whole video."""
    uploaded_at = video.metadata.uploaded_at
    return VideoInfo(video.title, video.collection, video.tags, uploaded_at.timestamp(), video.duration)


def stored_chunk(fields: Mapping[str, Any]) -> Chunk:
    """Gives a chunk as it is stored, in a third of the time that its ChunkRecord takes.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    return Chunk(
        fields["chunk_id"],
        fields["text"],
        fields["start_time"],
        fields["end_time"],
        tuple([(int(offset), float(start)) for offset, start in fields.get("sentence_marks", ())]),
        fields.get("language", ""),
        bytes(fields.get("sentence_embeddings", b"")),
        fields.get("speaker", ""),
    )


def stored_vectors(fields: Sequence[Mapping[str, Any]]) -> Vectors:
    """Gives the vectors of chunks as they are stored, float32, shape (n, dimension).

    Raises:
        InvalidArgument: They are of different lengths.
        KeyError, TypeError, ValueError: They are something else.
    """
    vectors = [one["embedding"] for one in fields]
    if len(set(map(len, vectors))) > 1:
        raise InvalidArgument("the vectors are of different lengths", field="chunks.vector")
    if not vectors:
        return np.empty((0, 0), np.float32)
    # The first two bytes of a BinData vector are its type and padding.
    together = np.frombuffer(b"".join(vectors), np.uint8).reshape(len(vectors), -1)
    return np.ascontiguousarray(together[:, 2:]).view("<f4")


def _chunk(record: ChunkRecord) -> Chunk:
    return Chunk(
        record.chunk_id,
        record.text,
        record.start_time,
        record.end_time,
        tuple(record.sentence_marks),
        record.language,
        record.sentence_vectors.tobytes(),
        record.speaker,
    )
