"""Makes a segment out of columns: of a head that was full, of smaller segments, or of what a rebuild read.

Runs in a process of its own (builder.py), so that neither the interpreter lock nor a crash of it touches a search.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.indexer import dense, keyword, sealed_json
from services.indexer.chunks import Ids
from services.indexer.columns import Columns, ColumnWriter, blocks
from services.indexer.record import chunk_id_of, text_of
from services.indexer.segment import FORMAT_VERSION, MANIFEST, checksum, sync

_QUESTIONS = 256
ORIGINS = "origins.npy"
"""Beside the segment's files until it is taken over: for each of its rows the source and the row there."""


@dataclass(frozen=True, slots=True)
class Source:
    """Columns to take rows from.

    Attributes:
        folder: Where they lie.
        alive: Which rows to take, as `numpy.packbits` of a mask; None means all.
    """

    folder: Path
    alive: bytes | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What to make.

    Attributes:
        target: Folder of the segment; not there yet.
        sources: Where its rows come from.
        dimension: Length of the vectors.
        model_revision: The model they are of.
        policy: Which kind of vector index to make.
        rows: Rows it will have.
        threads: Threads for training and adding.
    """

    target: Path
    sources: Sequence[Source]
    dimension: int
    model_revision: str
    policy: dense.DensePolicy
    rows: int = 0
    threads: int = 1


def writing_folder(target: Path) -> Path:
    """Gives the folder in which a segment is made, until it is whole."""
    return target.with_name(target.name + ".writing")


def build(job: Job) -> dict[str, Any]:
    """Makes the segment and gives its manifest. When it returns, the segment would outlast a loss of power.

    Raises:
        OSError: The disk does not take it, or a source cannot be read.
        ValueError: A source is not what it should be, or there is not one row.
    """
    started = time.perf_counter()
    writing = writing_folder(job.target)
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    columns = [Columns(source.folder) for source in job.sources]
    origins = _ordered(job, columns)
    if not len(origins):
        raise ValueError("there is not one row to make a segment of")
    _copy(job, columns, origins, writing)
    np.save(writing / ORIGINS, origins)
    written = Columns(writing)
    kind = job.policy.choose(written.rows)
    try:
        facts = dense.build(
            written.vectors,
            writing / "dense.faiss",
            kind=kind,
            recall_target=job.policy.recall_target,
            threads=job.threads,
            questions=_questions(written),
        )
        keyword.build(writing / "keyword", _documents(written))
    except (RuntimeError, ValueError) as error:  # as which FAISS and tantivy report a full disk
        raise OSError(f"the index of the segment cannot be written: {error}") from error
    return finish(
        writing,
        job.target,
        dimension=job.dimension,
        model_revision=job.model_revision,
        facts=facts,
        started=started,
    )


def finish(
    writing: Path, target: Path, *, dimension: int, model_revision: str, facts: dict[str, Any], started: float
) -> dict[str, Any]:
    """Writes the manifest of a segment whose other files are there, syncs all, and gives the folder its name.

    Args:
        writing: The folder.
        target: What it is to be.
        dimension: Length of the vectors.
        model_revision: The model they are of.
        facts: The vector index's own, `rows` among them.
        started: When building began (`time.perf_counter`).

    Returns:
        The manifest.
    """
    manifest = {
        "format_version": FORMAT_VERSION,
        "rows": facts["rows"],
        "dimension": dimension,
        "model_revision": model_revision,
        "dense": facts,
        "build_seconds": round(time.perf_counter() - started, 3),
        "files": {
            str(path.relative_to(writing)): {"bytes": path.stat().st_size, "xxh3": checksum(path)}
            for path in sorted(writing.rglob("*"))
            if path.is_file() and path.name != ORIGINS
        },
    }
    sealed_json.write(writing / MANIFEST, manifest)
    for path in writing.rglob("*"):
        sync(path)
    sync(writing)
    writing.rename(target)
    sync(target.parent)
    return manifest


def _ordered(job: Job, columns: Sequence[Columns]) -> npt.NDArray[np.uint32]:
    """Gives (source, row) of every living row, shape (n, 2), in order of chunk id."""
    ids: list[str] = []
    origins: list[npt.NDArray[np.uint32]] = []
    for place, (source, rows) in enumerate(zip(job.sources, columns, strict=True)):
        if source.alive is None:
            chosen = np.arange(rows.rows, dtype=np.uint32)
        else:
            mask = np.unpackbits(np.frombuffer(source.alive, np.uint8), count=rows.rows, bitorder="little")
            chosen = np.flatnonzero(mask).astype(np.uint32)
        ids += [chunk_id_of(rows.record(row)) for row in chosen.tolist()]
        origins.append(np.column_stack([np.full(len(chosen), place, np.uint32), chosen]))
    if not ids:
        return np.empty((0, 2), np.uint32)
    # By video first: "a/…" and "a-b/…" would otherwise interleave, since "-" sorts before "/".
    order = sorted(range(len(ids)), key=[chunk_id.replace("/", "\0") for chunk_id in ids].__getitem__)
    return np.concatenate(origins)[order]


def _copy(job: Job, columns: Sequence[Columns], origins: npt.NDArray[np.uint32], target: Path) -> None:
    writer = ColumnWriter(target)
    languages = [rows.languages.tolist() for rows in columns]
    speakers = [rows.speakers.tolist() for rows in columns]
    videos = [rows.videos.tolist() for rows in columns]
    for place, row in origins.tolist():
        rows = columns[place]
        writer.add(
            rows.record(row),
            rows.sentences(row),
            video_id=rows.video_ids[videos[place][row]],
            language=rows.language_names[languages[place][row]],
            speaker=rows.speaker_names[speakers[place][row]],
        )
    for block in blocks(np.arange(len(origins), dtype=np.int64)):
        writer.add_vectors(_vectors(columns, origins[block], job.dimension))
    writer.close(job.dimension)


def _vectors(columns: Sequence[Columns], origins: npt.NDArray[np.uint32], dimension: int) -> npt.NDArray[np.float16]:
    vectors = np.empty((len(origins), dimension), "<f2")
    for place, rows in enumerate(columns):
        mine = np.flatnonzero(origins[:, 0] == place)
        if len(mine):
            wanted: Ids = origins[mine, 1].astype(np.int64)
            vectors[mine] = rows.vectors[wanted]
    return vectors


def _questions(columns: Columns) -> npt.NDArray[np.float32] | None:
    """Gives vectors of sentences here and there, which are as short as what people ask, to tune the index with."""
    rows = np.linspace(0, columns.rows - 1, min(_QUESTIONS, columns.rows)).astype(np.int64)
    found = []
    for row, sentences in zip(rows.tolist(), columns.all_sentences(rows), strict=True):
        vectors = np.frombuffer(sentences, np.int8).reshape(-1, columns.dimension).astype(np.float32)
        if len(vectors):
            found.append(vectors[row % len(vectors)])
    if len(found) < _QUESTIONS // 2:
        return None
    questions = np.stack(found)
    lengths = np.linalg.norm(questions, axis=1, keepdims=True)
    return np.asarray(questions / np.maximum(lengths, 1e-6), np.float32)


def _documents(columns: Columns) -> Iterator[keyword.KeywordDocument]:
    for row in range(columns.rows):
        yield keyword.KeywordDocument(row, text_of(columns.record(row)))
