"""Chunks as bytes: as they lie on disk, and as they go into an answer.

A record is a `Chunk` message without its title, vector and sentence vectors, so that an answer takes it as it is.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from earmark.internal.v1 import shard_service_pb2 as pb
from services.indexer.chunks import Chunk

_ONE_BYTE = 0x80


def encode(chunk: Chunk) -> bytes:
    """Gives the record of a chunk; the same for equal chunks."""
    message = pb.Chunk(
        chunk_id=chunk.chunk_id,
        video_id=chunk.video_id,
        text=chunk.text,
        language=chunk.language,
        speaker=chunk.speaker,
    )
    _set(message.start_offset, chunk.start_time)
    _set(message.end_offset, chunk.end_time)
    add = message.sentence_marks.add
    for offset, start in chunk.marks:
        _set(add(char_offset=offset).start_offset, start)
    return message.SerializeToString()


def decode(record: bytes, sentence_vectors: bytes = b"") -> Chunk:
    """Gives the chunk of a record. Raises google.protobuf.message.DecodeError when it is something else."""
    message = pb.Chunk.FromString(record)
    return Chunk(
        chunk_id=message.chunk_id,
        text=message.text,
        start_time=seconds(message.start_offset),
        end_time=seconds(message.end_offset),
        marks=tuple((mark.char_offset, seconds(mark.start_offset)) for mark in message.sentence_marks),
        language=message.language,
        sentence_vectors=sentence_vectors,
        speaker=message.speaker,
    )


def chunk_id_of(record: bytes) -> str:
    """Gives the chunk id of a record, without reading the rest: it is the first field."""
    if record[1] < _ONE_BYTE:
        return record[2 : 2 + record[1]].decode()
    return pb.Chunk.FromString(record).chunk_id


def text_of(record: bytes) -> str:
    """Gives the text of a record."""
    return pb.Chunk.FromString(record).text


def seconds(duration: Duration) -> float:
    """Gives a duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def _set(duration: Duration, value: float) -> None:
    # Setting a field of it puts it into its message, to 0 as well.
    duration.seconds, duration.nanos = divmod(round(value * 1e9), 1_000_000_000)
