"""From the chunks of a video document to a change of the shard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from services.common.errors import InvalidArgument
from services.common.videos.model import ChunkRecord, SliceState, Video
from services.indexer.chunks import Batch, Chunk, ReplaceSlice

INDEXABLE = frozenset({SliceState.EMBEDDED, SliceState.INDEXED})
"""States of a slice whose chunks count."""


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
    if len({record.embedding.shape for record in mine}) > 1:
        raise InvalidArgument(f"the vectors of slice {slice_id} are of different lengths", field="chunks.vector")
    vectors = np.stack([record.embedding for record in mine]) if mine else np.empty((0, 0), np.float32)
    batch = Batch([_chunk(record) for record in mine], vectors, video.metadata.embedding_model or "")
    return ReplaceSlice(video.video_id, slice_id, video.title, batch)


def replace_all(video: Video, records: Sequence[ChunkRecord]) -> list[ReplaceSlice]:
    """Gives the changes that make the index hold every slice of a video that is embedded."""
    return [replace_slice(video, part.slice_id, records) for part in video.slices if part.state in INDEXABLE]


def _chunk(record: ChunkRecord) -> Chunk:
    marks = tuple(record.sentence_marks)
    sentences = record.sentence_vectors.tobytes()
    return Chunk(record.chunk_id, record.text, record.start_time, record.end_time, marks, record.language, sentences)
