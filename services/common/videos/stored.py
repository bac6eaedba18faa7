"""A video as the database gives it, not taken apart yet: another process can do that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import bson

from services.common.codec import CODEC
from services.common.videos.model import ChunkRecord, Video

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """The documents of one video, in BSON.

    Attributes:
        video_id: Its id.
        document: The video's own document.
        continuations: What did not fit into it.
    """

    video_id: str
    document: bytes
    continuations: tuple[bytes, ...] = ()

    def read(self) -> tuple[Video, list[Document]]:
        """Gives the video, and its chunks for `chunk_records`."""
        document = bson.decode(self.document, CODEC)
        return Video.from_document(document), chunks_that_count(
            document, (bson.decode(more, CODEC) for more in self.continuations)
        )


def chunk_records(fields: Iterable[Document]) -> list[ChunkRecord]:
    """Reads chunks and puts them in order. Raises KeyError, TypeError or ValueError when they are something else."""
    return sorted(map(ChunkRecord.from_document, fields), key=lambda chunk: chunk.chunk_id)


def chunks_that_count(document: Document, continuations: Iterable[Document]) -> list[Document]:
    """Gives the chunks of a document and of its continuations, as far as those are of the edit that counts."""
    fields: list[Document] = document["transcripts"]
    edits = {entry["slice_id"]: entry.get("edit") or "" for entry in document["slices"]}
    inside = {entry["slice_id"] for entry in fields}
    for more in continuations:
        part = more["slice_id"]
        if part not in inside and more.get("edit", "") == edits.get(part):
            fields += more["transcripts"]
    return fields
