"""Videos as the mesh stores them, of a data set's rows and the hearings' texts, for measuring what is not search alone.

The sentence vectors are the chunk's own, once for each sentence: as many bytes as real ones, and as quick to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bench.index import texts
from bench.index.corpus import Corpus, Vectors
from bench.index.ours import folder as index
from services.common.ids import chunk_id, slice_id
from services.common.videos.model import ChunkRecord, quantized
from services.indexer.chunks import Batch, Chunk

CHUNKS_A_SLICE = 10
CHUNKS_A_VIDEO = 120
CHUNK_SECONDS = 30.0
BLOCK = 12_000


@dataclass(frozen=True, slots=True)
class Spoken:
    """A video: its id, and the chunks of each slice by the slice's id."""

    video_id: str
    slices: dict[str, list[ChunkRecord]]

    @property
    def chunks(self) -> int:
        return sum(map(len, self.slices.values()))

    def batch(self) -> Batch:
        """Its chunks as the index takes them."""
        records = [record for of_slice in self.slices.values() for record in of_slice]
        chunks = [
            Chunk(
                record.chunk_id,
                record.text,
                record.start_time,
                record.end_time,
                tuple(record.sentence_marks),
                record.language,
                record.sentence_vectors.tobytes(),
            )
            for record in records
        ]
        return Batch(chunks, np.stack([record.embedding for record in records]), index.MODEL).checked()


def videos(corpus: Corpus, first: int = 0) -> Iterator[Spoken]:
    """Gives videos of an hour each, numbered from `first` on, until the rows are used up."""
    said = [hearing.text for hearing in texts.read()]
    number = first
    for block in corpus.blocks(BLOCK):
        for at in range(0, len(block.ids), CHUNKS_A_VIDEO):
            rows = slice(at, at + CHUNKS_A_VIDEO)
            words = [said[row % len(said)] for row in block.ids[rows].tolist()]
            yield _video(index.video_id(number), words, block.vectors[rows])
            number += 1


def some(corpus: Corpus, chunks: int, first: int = 0) -> list[Spoken]:
    """Gives videos of at least so many chunks, or all there are."""
    return list(islice(videos(corpus, first), -(-chunks // CHUNKS_A_VIDEO)))


def _video(video_id: str, words: Sequence[str], vectors: Vectors) -> Spoken:
    slices: dict[str, list[ChunkRecord]] = {}
    for place, (text, vector) in enumerate(zip(words, vectors, strict=True)):
        of_slice = slices.setdefault(slice_id(place // CHUNKS_A_SLICE), [])
        start = CHUNK_SECONDS * place
        ends = [found.end() for found in texts.SENTENCE_END.finditer(text)]
        marks = [(offset, start + CHUNK_SECONDS * offset / len(text)) for offset in [0, *ends] if offset < len(text)]
        of_slice.append(
            ChunkRecord(
                chunk_id=chunk_id(video_id, slice_id(place // CHUNKS_A_SLICE), place % CHUNKS_A_SLICE),
                slice_id=slice_id(place // CHUNKS_A_SLICE),
                text=text,
                start_time=start,
                end_time=start + CHUNK_SECONDS,
                embedding=vector,
                sentence_marks=marks,
                language="en",
                sentence_vectors=quantized(np.repeat(vector[None], len(marks), axis=0)),
            )
        )
    return Spoken(video_id, slices)
