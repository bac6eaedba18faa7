"""What the legs' numbers stand for: chunks, their videos, and which numbers a filter lets through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgpack
import numpy as np

from services.indexer.chunks import Chunk, Filter, Ids


@dataclass(slots=True)
class _Video:
    title: str
    slices: dict[str, dict[str, int]] = field(default_factory=dict)

    def numbers(self) -> Iterable[int]:
        return (number for numbers in self.slices.values() for number in numbers.values())


class PayloadTable:
    """Chunks by number, and numbers by chunk id, slice, video and language.

    A number is given once: a chunk that changes gets a new one, so what was found under a number stays true.
    """

    def __init__(self) -> None:
        self._chunks: dict[int, Chunk] = {}
        self._video_of: dict[int, _Video] = {}
        self._videos: dict[str, _Video] = {}
        self._languages: dict[str, set[int]] = {}
        self.next_number = 0
        """The number the next chunk gets."""

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def video_count(self) -> int:
        """Videos with at least one chunk."""
        return len(self._videos)

    @property
    def numbers(self) -> Iterable[int]:
        """Every number in use."""
        return self._chunks.keys()

    def chunk(self, number: int) -> Chunk:
        """Gives the chunk under a number. Raises KeyError."""
        return self._chunks[number]

    def described(self, number: int) -> tuple[Chunk, str]:
        """Gives the chunk under a number and the title of its video. Raises KeyError."""
        return self._chunks[number], self._video_of[number].title

    def slices_of(self, video_id: str) -> Iterable[str]:
        """Gives the slices of a video that have chunks."""
        video = self._videos.get(video_id)
        return list(video.slices) if video else []

    def slice_numbers(self, video_id: str, slice_id: str) -> Mapping[str, int]:
        """Gives the numbers of a slice's chunks by chunk id."""
        video = self._videos.get(video_id)
        return video.slices.get(slice_id, {}) if video else {}

    def rename(self, video_id: str, title: str) -> bool:
        """Gives a video that has chunks another title; False when it has none, or has that title."""
        video = self._videos.get(video_id)
        if video is None or video.title == title:
            return False
        video.title = title
        return True

    def add(self, number: int, chunk: Chunk, title: str) -> None:
        """Adds a chunk under a new number."""
        self._chunks[number] = chunk
        video = self._videos.setdefault(chunk.video_id, _Video(title))
        video.title = title
        self._video_of[number] = video
        video.slices.setdefault(chunk.slice_id, {})[chunk.chunk_id] = number
        self._languages.setdefault(chunk.language, set()).add(number)
        self.next_number = max(self.next_number, number + 1)

    def remove(self, number: int) -> None:
        """Removes a number. Its chunk id may already belong to another."""
        chunk, video = self._chunks.pop(number), self._video_of.pop(number)
        speakers = self._languages[chunk.language]
        speakers.discard(number)
        if not speakers:
            del self._languages[chunk.language]
        numbers = video.slices[chunk.slice_id]
        if numbers.get(chunk.chunk_id) == number:
            del numbers[chunk.chunk_id]
        if not numbers:
            del video.slices[chunk.slice_id]
        if not video.slices:
            del self._videos[chunk.video_id]

    def select(self, chosen: Filter) -> Ids | None:
        """Gives the numbers a filter lets through; None when it lets all through."""
        if chosen.passes_all:
            return None
        if not chosen.video_ids:
            return _ids(self._languages.get(chosen.language, ()))
        videos = (self._videos[video_id] for video_id in self.known_videos(chosen))
        numbers = (number for video in videos for number in video.numbers())
        if chosen.language:
            speakers = self._languages.get(chosen.language, set())
            numbers = (number for number in numbers if number in speakers)
        return _ids(numbers)

    def known_videos(self, chosen: Filter) -> list[str]:
        """Gives the videos that a filter names and that have chunks here."""
        return [video_id for video_id in chosen.video_ids if video_id in self._videos]

    def to_bytes(self) -> bytes:
        """Gives the table as MessagePack."""
        rows = [
            (
                number,
                chunk.chunk_id,
                chunk.text,
                chunk.start_time,
                chunk.end_time,
                chunk.marks,
                chunk.language,
                chunk.sentence_vectors,
            )
            for number, chunk in self._chunks.items()
        ]
        titles = {video_id: video.title for video_id, video in self._videos.items()}
        packed: bytes = msgpack.packb({"next_number": self.next_number, "titles": titles, "rows": rows})
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads what `to_bytes` gave. Raises ValueError or KeyError when it is something else."""
        fields: dict[str, Any] = msgpack.unpackb(data, use_list=False)
        table = cls()
        titles = fields["titles"]
        for number, *of_chunk in fields["rows"]:
            chunk = Chunk(*of_chunk)
            table.add(number, chunk, titles[chunk.video_id])
        table.next_number = fields["next_number"]
        return table


def _ids(numbers: Iterable[int]) -> Ids:
    return np.fromiter(numbers, dtype=np.int64)
