"""The head: the part of a shard that takes new chunks, in memory, exact, found as soon as they are in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from services.indexer.chunks import Chunk, Ids, Vectors
from services.indexer.columns import ColumnWriter
from services.indexer.dense import HeadVectors
from services.indexer.keyword import HeadKeyword, KeywordDocument
from services.indexer.record import encode
from services.indexer.rows import Mask
from services.indexer.videos import Numbers

HEAD: Final = "head"


class Head:
    """Rows in memory. One thread adds, any number read what was there when they took their view.

    Args:
        serial: What tells this part from all others of the process.
        dimension: Length of the vectors.
    """

    kind = HEAD
    segment_id = HEAD
    bytes_on_disk = 0

    def __init__(self, serial: int, dimension: int) -> None:
        self.serial = serial
        self.dense = HeadVectors(dimension)
        self.keyword = HeadKeyword()
        self._dimension = dimension
        self._records: list[bytes] = []
        self._sentences: list[bytes] = []
        self._chunk_ids: list[str] = []
        self._languages: list[str] = []
        self._speakers: list[str] = []
        self._numbers = np.zeros(64, np.int32)
        self._slices: defaultdict[str, dict[str, dict[str, int]]] = defaultdict(dict)

    @property
    def rows(self) -> int:
        """Rows there are, dead ones too."""
        return len(self._records)

    def video_numbers(self) -> Numbers:
        """Gives the number of each row's video, shape (rows,)."""
        return self._numbers[: self.rows]

    def add(self, chunks: Sequence[Chunk], vectors: Vectors, numbers: Sequence[int]) -> None:
        """Adds chunks, whose videos have these numbers; seen by those who look at more rows than before."""
        first = self.rows
        if first + len(chunks) > len(self._numbers):
            grown = np.zeros(2 * (first + len(chunks)), np.int32)
            grown[:first] = self._numbers[:first]
            self._numbers = grown
        self._numbers[first : first + len(chunks)] = numbers
        self.dense.append(vectors)
        self.keyword.add(KeywordDocument(row, chunk.text) for row, chunk in enumerate(chunks, first))
        self.keyword.publish()
        for row, chunk in enumerate(chunks, first):
            self._chunk_ids.append(chunk.chunk_id)
            self._languages.append(chunk.language)
            self._speakers.append(chunk.speaker)
            self._sentences.append(chunk.sentence_vectors)
            self._records.append(encode(chunk))
            slices = self._slices[chunk.video_id]
            slices.setdefault(chunk.slice_id, {})[chunk.chunk_id] = row

    def numbers_of(self, rows: Ids) -> list[int]:
        """Gives the numbers of the videos of rows."""
        return [int(number) for number in self._numbers[rows]]

    def records(self, rows: Ids) -> list[bytes]:
        """Gives the encoded chunks of rows."""
        return [self._records[row] for row in rows.tolist()]

    def sentences(self, rows: Ids) -> list[bytes]:
        """Gives the sentence vectors of rows."""
        return [self._sentences[row] for row in rows.tolist()]

    def vectors(self, rows: Ids) -> Vectors:
        """Gives the vectors of rows, float32, shape (n, dimension)."""
        return self.dense.vectors(rows)

    def slice_rows(self, video_id: str) -> Mapping[str, Mapping[str, int]]:
        """Gives, for each slice of a video, the last row of each of its chunks, dead ones too."""
        return self._slices.get(video_id, {})

    def video_rows(self, video_id: str) -> Ids:
        """Gives all rows of a video, dead ones too, ascending."""
        return np.array([row for row, chunk_id in enumerate(self._chunk_ids) if _is_of(chunk_id, video_id)], np.int64)

    def rows_of(self, videos: Mask) -> Mask:
        """Gives which rows are of a chosen video number; a number beyond the mask is not."""
        numbers = self.video_numbers()
        return np.append(videos, False)[np.minimum(numbers, len(videos))]

    def spoken(self, language: str, speakers: frozenset[str]) -> Mask:
        """Gives which rows are in a language and by one of the speakers, where these are given."""
        rows = self.rows
        return np.fromiter(
            (
                (not language or self._languages[row] == language) and (not speakers or self._speakers[row] in speakers)
                for row in range(rows)
            ),
            np.bool_,
            rows,
        )

    def dump(self, folder: Path) -> None:
        """Writes all rows as columns into a new folder, for the process that makes a segment of them."""
        folder.mkdir(parents=True)
        writer = ColumnWriter(folder)
        rows = self.rows
        for row in range(rows):
            writer.add(
                self._records[row],
                self._sentences[row],
                video_id=self._chunk_ids[row].split("/", 1)[0],
                language=self._languages[row],
                speaker=self._speakers[row],
            )
        writer.add_vectors(self.vectors(np.arange(rows, dtype=np.int64)))
        writer.close(self._dimension)

    def close(self) -> None:
        """Frees what the garbage collector does not."""
        self.keyword.close()


def _is_of(chunk_id: str, video_id: str) -> bool:
    return chunk_id.startswith(video_id) and chunk_id[len(video_id)] == "/"
