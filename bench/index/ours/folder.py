"""An indexer's folder made as production makes it, and a replica over it, without NATS and MongoDB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ulid import ULID

from services.common.executor import BoundedExecutor
from services.common.ids import SLOTS
from services.indexer.build import ORIGINS, Job, Source, build
from services.indexer.builder import Builder
from services.indexer.chunks import Batch, Chunk, Vectors, VideoInfo
from services.indexer.columns import ColumnWriter
from services.indexer.compactor import SegmentPolicy
from services.indexer.dense import DenseKind, DensePolicy
from services.indexer.places import Place
from services.indexer.record import encode
from services.indexer.replica import WRITER_NICENESS, Replica, Threads
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder, State

MODEL = "bench"
ORIGIN = Origin(0, "bench")
ALL_SLOTS = frozenset(range(SLOTS))
SEARCHES_WAITING = 256
FILL_PROCESSES = 2
"""As many as production has."""


def video_id(number: int) -> str:
    """Gives the id of a video, 30 characters as any."""
    return f"vid_{number:026d}"


def info(number: int) -> VideoInfo:
    """Gives what is true of a video: its time of upload is its number, for filters."""
    return VideoInfo(title=f"Hearing {number}", uploaded_at=float(number))


def policy_of(kind: str, threads: int) -> SegmentPolicy:
    """Gives production's policy, but for the kind of segment (empty: its own choice) and the threads of a build."""
    return SegmentPolicy(dense=DensePolicy(kind=DenseKind(kind) if kind else None), threads=threads)


def write(folder: Path, batches: Iterable[Batch], infos: dict[str, VideoInfo], policy: SegmentPolicy) -> None:
    """Writes columns, makes one segment of them, and a snapshot: what is left when all merging is done.

    Args:
        folder: Of the indexer.
        batches: All chunks; checked ones.
        infos: Of all videos.
        policy: How the segment is built.
    """
    snapshots = SnapshotFolder(folder, ORIGIN)
    columns, target = snapshots.work / "columns", snapshots.segments / str(ULID()).lower()
    columns.mkdir()
    writer, dimension = ColumnWriter(columns), 0
    for batch in batches:
        dimension = batch.vectors.shape[1]
        add(writer, batch.chunks)
        writer.add_vectors(batch.vectors)
    writer.close(dimension)
    build(Job(target, [Source(columns)], dimension, MODEL, policy.dense, rows=writer.rows, threads=policy.threads))
    (target / ORIGINS).unlink()
    shutil.rmtree(columns)
    shard = Shard()
    shard.attach(target, infos)
    snapshots.write(State.of(shard, applied_sequence=0, slots=ALL_SLOTS))


def multiplied(source: Path, target: Path, copies: int) -> None:
    """Makes a shard that has each segment of another several times, by links: as much to check and open as others.

    Args:
        source: Folder of an indexer.
        target: The new folder.
        copies: How many times.
    """
    snapshots, shard = SnapshotFolder(target, ORIGIN), Shard()
    loaded = SnapshotFolder(source, ORIGIN).load()
    assert loaded is not None, f"there is no snapshot in {source}"
    infos = {name: loaded.shard.videos.info(name) for name in loaded.shard.videos}
    segments = list((source / "segments").iterdir())
    for segment in segments * copies:
        copy = snapshots.segments / str(ULID()).lower()
        shutil.copytree(segment, copy, copy_function=os.link)
        shard.attach(copy, infos)
    snapshots.write(State.of(shard, applied_sequence=0, slots=ALL_SLOTS))


def add(writer: ColumnWriter, chunks: Sequence[Chunk]) -> None:
    """Writes chunks, but for their vectors."""
    for chunk in chunks:
        writer.add(
            encode(chunk),
            chunk.sentence_vectors,
            video_id=chunk.video_id,
            language=chunk.language,
            speaker=chunk.speaker,
        )


def replica(folder: Path, policy: SegmentPolicy, threads: int) -> Replica:
    """Gives a replica over a folder, not opened yet."""
    return Replica(
        place=Place(0, 0),
        snapshots=SnapshotFolder(folder, ORIGIN),
        threads=Threads(
            searches=BoundedExecutor("search", threads=threads, queue=SEARCHES_WAITING),
            parallel=threads,
            writes=BoundedExecutor("index-writer", threads=1, queue=64, niceness=WRITER_NICENESS),
            files=BoundedExecutor("index-files", threads=1, queue=16),
            filling=Builder(FILL_PROCESSES),
        ),
        policy=policy,
    )


def plain_batch(
    videos: Sequence[int], rows: Sequence[int], vectors: Vectors, sentences: Sequence[bytes] = (b"",)
) -> Batch:
    """Gives chunks without words, each a slice of its own, so that each can be taken away alone.

    Args:
        videos: Number of each chunk's video.
        rows: Number of each chunk.
        vectors: Of the chunks.
        sentences: Given to the chunks in turn, as the vector of the one sentence that each has then.
    """
    chunks = [
        Chunk(
            f"{video_id(video)}/{row:08d}/0000",
            "",
            0.0,
            30.0,
            marks=((0, 0.0),) if sentences[0] else (),
            language="en",
            sentence_vectors=sentences[row % len(sentences)],
        )
        for video, row in zip(videos, rows, strict=True)
    ]
    return Batch(chunks, vectors, MODEL).checked()


def row_of(chunk_id: str) -> int:
    """Gives the number that a chunk of `plain_batch` was made with."""
    return int(chunk_id.split("/", 2)[1])
