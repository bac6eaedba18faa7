"""A lot of videos, as the database gave them, becomes a segment: all in the process that builds it.

    lot.bson      the videos' documents, one after the other

A segment made so compares its rows one by one, however many they are: it is soon merged with others (compactor.py), and
an index of vectors that takes minutes to build is built then, once.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from services.common.errors import EarmarkError, InvalidArgument, ModelMismatch
from services.common.videos.model import SliceState, Video, VideoStatus
from services.common.videos.stored import Document, StoredVideo
from services.indexer import dense, keyword
from services.indexer.build import finish, writing_folder
from services.indexer.chunks import Batch, Chunk, Vectors, VideoInfo, unit
from services.indexer.columns import Columns, ColumnWriter
from services.indexer.dense import DenseKind
from services.indexer.record import encode
from services.indexer.records import INDEXABLE, stored_chunk, stored_vectors, video_info

_Slices = dict[str, list[Document]]


class Place(NamedTuple):
    """Where a video lies in the file: its first byte, and the length of its document and of each continuation."""

    video_id: str
    start: int
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lot:
    """What to make a segment of.

    Attributes:
        target: Folder of the segment; not there yet.
        documents: The file.
        videos: The videos in it.
        dimension: Length of the vectors.
        model_revision: The model they are of.
    """

    target: Path
    documents: Path
    videos: Sequence[Place]
    dimension: int
    model_revision: str

    @property
    def bytes(self) -> int:
        """How much there is to read."""
        return sum(sum(place.lengths) for place in self.videos)


@dataclass(slots=True)
class Taken:
    """What became of a lot.

    Attributes:
        rows: Chunks in the segment; there is none without one.
        infos: What is true of their videos.
        done: Slices that are found with it, and whose documents do not say so yet.
        refused: Slices that can never be indexed as they are, and why.
    """

    rows: int = 0
    infos: dict[str, VideoInfo] = field(default_factory=dict)
    done: list[tuple[Video, str]] = field(default_factory=list)
    refused: list[tuple[Video, str, EarmarkError]] = field(default_factory=list)


class LotWriter:
    """Writes the file.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.videos: list[Place] = []
        self._file = path.open("wb")

    def add(self, stored: StoredVideo) -> None:
        """Adds a video."""
        parts = (stored.document, *stored.continuations)
        self.videos.append(Place(stored.video_id, self.bytes, tuple(map(len, parts))))
        for part in parts:
            self.bytes += self._file.write(part)

    def close(self) -> None:
        """Ends the file; it is not synced: a filling that breaks off begins again."""
        self._file.close()


def build_lot(lot: Lot) -> Taken:
    """Makes the segment, if there is a chunk to make it of. When it returns, it would outlast a loss of power.

    Raises:
        OSError: The disk does not take it, or the lot cannot be read.
    """
    started = time.perf_counter()
    writing = writing_folder(lot.target)
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    taken, columns = Taken(), ColumnWriter(writing)
    try:
        texts = _written(lot, columns, taken)
        columns.close(lot.dimension)
        taken.rows = len(texts)
        if not texts:
            shutil.rmtree(writing)
            return taken
        # After the columns: tantivy's thread would wait for each text, and that costs a fifth more.
        keyword.build(writing / "keyword", map(keyword.KeywordDocument, itertools.count(), texts))
        facts = dense.build(
            Columns(writing).vectors, writing / "dense.faiss", kind=DenseKind.FLAT, recall_target=1.0, threads=1
        )
    except (RuntimeError, ValueError) as error:  # as which FAISS and tantivy report a full disk
        raise OSError(f"the segment cannot be written: {error}") from error
    finish(
        writing, lot.target, dimension=lot.dimension, model_revision=lot.model_revision, facts=facts, started=started
    )
    return taken


def _written(lot: Lot, columns: ColumnWriter, taken: Taken) -> list[str]:
    """Writes the columns, in order of chunk id, and gives the texts."""
    texts: list[str] = []
    with lot.documents.open("rb") as file:
        for place in sorted(lot.videos):
            file.seek(place.start)
            document, *more = (file.read(length) for length in place.lengths)
            for batch in _batches(StoredVideo(place.video_id, document, tuple(more)), lot, taken):
                columns.add_vectors(batch.vectors)
                for chunk in batch.chunks:
                    columns.add(
                        encode(chunk),
                        chunk.sentence_vectors,
                        video_id=place.video_id,
                        language=chunk.language,
                        speaker=chunk.speaker,
                    )
                    texts.append(chunk.text)
    return texts


def _batches(stored: StoredVideo, lot: Lot, taken: Taken) -> Iterator[Batch]:
    """Gives the chunks of a video that the index takes, and notes what becomes of its slices."""
    video, fields = stored.read()
    slices: _Slices = {part.slice_id: [] for part in video.slices if part.state in INDEXABLE}
    for one in fields:
        if one["slice_id"] in slices:
            slices[one["slice_id"]].append(one)
    refused: dict[str, EarmarkError] = {}
    for batch in _accepted(video, slices, lot, refused):
        if batch.chunks:
            taken.infos[video.video_id] = video_info(video)
            yield batch
    taken.refused += [(video, slice_id, error) for slice_id, error in refused.items()]
    # Also one that is moved on already: who did it may have died before the video was settled.
    taken.done += [
        (video, part.slice_id)
        for part in video.slices
        if part.slice_id in slices.keys() - refused.keys()
        and (part.state is SliceState.EMBEDDED or video.status is VideoStatus.PROCESSING)
    ]


def _accepted(video: Video, slices: _Slices, lot: Lot, refused: dict[str, EarmarkError]) -> Iterator[Batch]:
    """Gives all slices at once where nothing is wrong with them, else one by one without those that are refused."""
    try:
        batch = _checked(video, slices, lot)
    except EarmarkError as error:
        refusal = error
    except (KeyError, TypeError, ValueError) as error:  # what is stored is not chunks; other videos must go on
        message = f"the stored chunks of the slice cannot be read ({type(error).__name__})"
        refusal = InvalidArgument(message, reason="CHUNKS_UNREADABLE")
    else:
        yield batch
        return
    if len(slices) == 1:
        refused |= dict.fromkeys(slices, refusal)
        return
    for slice_id, fields in slices.items():
        yield from _accepted(video, {slice_id: fields}, lot, refused)


def _checked(video: Video, slices: _Slices, lot: Lot) -> Batch:
    """Gives chunks in order of their ids, with vectors of unit length, not rounded yet: the file does that."""
    chunks: list[Chunk] = []
    vectors: list[Vectors] = []
    for slice_id, fields in slices.items():
        where = f"{video.video_id}/{slice_id}/"
        ordered = sorted(fields, key=itemgetter("chunk_id"))
        if not all(one["chunk_id"].startswith(where) for one in ordered):
            raise InvalidArgument(f"a chunk's id does not begin with {where!r}", field="chunks.chunk_id")
        chunks += map(stored_chunk, ordered)
        if ordered:
            vectors.append(stored_vectors(ordered))
    model = video.metadata.embedding_model or ""
    if not chunks:
        return Batch([], np.empty((0, 0), np.float32), model)
    lengths = {part.shape[1] for part in vectors}
    if lengths != {lot.dimension} or model != lot.model_revision:
        raise ModelMismatch(
            f"the index holds vectors of {lot.model_revision} with {lot.dimension} numbers, these are of "
            f"{model} with {max(lengths)}; embed everything again with one model",
            metadata={"index_model": lot.model_revision, "model": model},
        )
    batch = Batch(chunks, np.concatenate(vectors), model)
    batch.check()
    return replace(batch, vectors=unit(batch.vectors))


def vectors_of(stored: StoredVideo) -> tuple[str, int]:
    """Gives the model and the length of a video's vectors, of most of them; "" and 0 where none can be read."""
    video, fields = stored.read()
    lengths: Counter[int] = Counter()
    for one in fields:
        with contextlib.suppress(KeyError, TypeError, ValueError, InvalidArgument):
            lengths[stored_vectors([one]).shape[1]] += 1
    return (video.metadata.embedding_model or "", max(lengths, key=lengths.__getitem__)) if lengths else ("", 0)
