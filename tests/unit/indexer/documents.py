"""Videos as the database gives them, for the indexer's tests."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson

from services.common.videos.model import ChunkRecord, quantized
from services.common.videos.stored import StoredVideo
from services.indexer.lot import Lot, LotWriter
from tests.unit.indexer.builders import DIMENSION, MODEL, vector_of


def record(video_id: str, text: str, *, slice_id: str = "00000", number: int = 0, **other: Any) -> dict[str, Any]:
    """A chunk as it is stored, with the vectors of its text."""
    vector = vector_of(text)
    chunk = ChunkRecord(
        f"{video_id}/{slice_id}/{number:04d}",
        slice_id,
        text,
        30.0 * number,
        30.0 * number + 30,
        vector,
        [(0, 30.0 * number)],
        "en",
        quantized(vector[None]),
    )
    return chunk.to_document() | other


def stored(
    video_id: str, *chunks: dict[str, Any], continued: Iterable[dict[str, Any]] = (), **other: Any
) -> StoredVideo:
    """A video that is ready, with the slices of its chunks."""
    more = [{"video_id": video_id, "slice_id": one["slice_id"], "transcripts": [one]} for one in continued]
    names = sorted({one["slice_id"] for one in (*chunks, *(part["transcripts"][0] for part in more))})
    document = {
        "_id": video_id,
        "title": video_id.upper(),
        "status": "ready",
        "slicing_done": True,
        "slices": [
            {"slice_id": name, "start_time": 0.0, "end_time": 30.0, "state": "indexed", "attempts": 1} for name in names
        ],
        "metadata": {"uploaded_at": datetime(2026, 11, 23, tzinfo=UTC), "embedding_model": MODEL},
        "revision": 1,
        "transcripts": list(chunks),
    }
    return StoredVideo(video_id, bson.encode(document | other), tuple(map(bson.encode, more)))


def given(folder: Path, *videos: StoredVideo) -> Lot:
    """A lot of videos in a folder, and where its segment goes."""
    (folder / "segments").mkdir(parents=True)
    writer = LotWriter(folder / "lot.bson")
    for video in videos:
        writer.add(video)
    writer.close()
    return Lot(folder / "segments" / "01", writer.path, writer.videos, DIMENSION, MODEL)


def metadata(model: str) -> dict[str, Any]:
    """What is true of a video's making, embedded with a model."""
    return {"uploaded_at": datetime(2026, 11, 23, tzinfo=UTC), "embedding_model": model}
