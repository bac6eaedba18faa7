"""Reads what an earlier version of the index wrote.

Format 1 (until November 2026): folders `snapshots/NNNNNNNN/` with `manifest.json`, `vectors.faiss` (a flat index with
ids), `payloads.msgpack` (the chunks by id) and `keyword/`, which is made anew from the chunks. Of a video it knew no
more than the title. It is only read: the way back is to start the earlier version on the same folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import msgpack
import numpy as np
import structlog

from services.common.ids import SLOTS
from services.indexer.chunks import Chunk, VideoInfo, rounded, unit
from services.indexer.columns import ColumnWriter
from services.indexer.record import encode

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a snapshot of an earlier format held; its chunks are columns in a folder now.

    Attributes:
        folder: The columns.
        dimension: Length of the vectors.
        model_revision: The model they are of.
        applied_sequence: Stream sequence applied.
        slots: Slots held.
        videos: What was known of the videos.
    """

    folder: Path
    dimension: int
    model_revision: str
    applied_sequence: int
    slots: frozenset[int]
    videos: dict[str, VideoInfo]


def read(snapshots: Path, work: Path, *, shard: int, stream: str) -> Earlier | None:
    """Reads the newest sound snapshot of format 1 that is of this shard and stream, into columns in `work`."""
    for path in sorted((path for path in snapshots.iterdir() if path.is_dir() and path.name.isdigit()), reverse=True):
        try:
            earlier = _read(path, work / "earlier", shard=shard, stream=stream)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            log.error("earlier_snapshot_unreadable", snapshot=path.name, error=repr(error))
            continue
        if earlier is not None:
            return earlier
    return None


def _read(path: Path, target: Path, *, shard: int, stream: str) -> Earlier | None:
    manifest: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())
    if manifest["format_version"] != 1 or (manifest["shard"], manifest["stream"]) != (shard, stream):
        return None
    for name in ("vectors.faiss", "payloads.msgpack"):
        if name in manifest["files"] and _sha256(path / name) != manifest["files"][name]["sha256"]:
            raise ValueError(f"{name} is not what was written")
    if "vectors.faiss" not in manifest["files"]:
        return None  # it held nothing: nothing is lost by filling the shard from the documents
    index = faiss.read_index(str(path / "vectors.faiss"))
    if not isinstance(index, faiss.IndexIDMap2):
        raise TypeError(f"vectors.faiss is a {type(index).__name__}")
    shutil.rmtree(target, ignore_errors=True)  # of a newer one that was not sound
    payloads = msgpack.unpackb((path / "payloads.msgpack").read_bytes(), use_list=False)
    target.mkdir(parents=True)
    writer = ColumnWriter(target)
    numbers = [number for number, *_ in payloads["rows"]]
    for _, *fields in payloads["rows"]:
        chunk = Chunk(*fields)
        writer.add(encode(chunk), chunk.sentence_vectors, video_id=chunk.video_id, language=chunk.language, speaker="")
    writer.add_vectors(rounded(unit(index.reconstruct_batch(np.array(numbers, np.int64)))))
    writer.close(index.d)
    return Earlier(
        folder=target,
        dimension=index.d,
        model_revision=manifest["model_revision"],
        applied_sequence=manifest["applied_sequence"],
        slots=frozenset(slot for slot in range(SLOTS) if slot * manifest["shards"] // SLOTS == shard),
        videos={video_id: VideoInfo(title=title) for video_id, title in payloads["titles"].items()},
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
