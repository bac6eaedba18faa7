"""Documents that the release stored are read and moved on; what this tree stores, the release finds as it knows it.

`tests/contract/golden/documents.json` was written by the release's own store: a video uploaded, one half embedded, one
ready, one failed, one being deleted, and the slot table. Fields are only ever added, so that going back needs nothing;
what is added to what is there already, and taken back: `test_migrations.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bson import json_util

from services.common.ids import chunk_id
from services.common.slots import SlotTables
from services.common.videos.model import ChunkRecord, Source, VideoStatus
from tests.support.mesh import Backbone

GOLDEN = Path(__file__).resolve().parents[1] / "contract" / "golden" / "documents.json"
UPLOADED, HALF, READY, FAILED, DELETING = (f"vid_01h0000000000000000000000{number}" for number in range(5))
VECTOR = np.full(4, 0.5, dtype=np.float32)


def golden() -> dict[str, list[dict[str, Any]]]:
    stored: dict[str, list[dict[str, Any]]] = json_util.loads(GOLDEN.read_text())
    return stored


async def put_back(backbone: Backbone) -> None:
    """Puts in the database what the release had in it."""
    for name, documents in golden().items():
        await backbone.database[name].delete_many({})
        if documents:
            await backbone.database[name].insert_many(documents)


def chunk(video_id: str, slice_id: str) -> ChunkRecord:
    return ChunkRecord(chunk_id(video_id, slice_id, 0), slice_id, "hello", 1.0, 2.0, VECTOR, [(0, 1.0)], "en")


async def embed(backbone: Backbone, video_id: str, slice_id: str) -> None:
    assert await backbone.videos.slice_transcribed(video_id, slice_id, language="en", asr_model="base")
    chunks = [chunk(video_id, slice_id)]
    assert await backbone.videos.slice_embedded(video_id, slice_id, chunks=chunks, embedding_model="minilm")


async def test_what_the_release_stored_is_read_and_moved_on(backbone: Backbone) -> None:
    await put_back(backbone)
    videos = backbone.videos
    found = {video_id: await videos.get(video_id) for video_id in (UPLOADED, HALF, READY, FAILED, DELETING)}
    assert [video.status for video in found.values()] == [
        VideoStatus.UPLOADED,
        VideoStatus.PROCESSING,
        VideoStatus.READY,
        VideoStatus.FAILED,
        VideoStatus.DELETING,
    ]
    assert found[FAILED].error is not None
    for one in await videos.chunks(READY):
        np.testing.assert_array_equal(one.embedding, VECTOR)
    assert len(await videos.chunks(READY)) == 4

    assert await videos.begin_processing(UPLOADED) is not None
    await embed(backbone, HALF, "00001")
    for slice_id in ("00000", "00001"):
        assert await videos.slice_indexed(HALF, slice_id, sequence=9)
    assert (await videos.get(HALF)).status is VideoStatus.READY
    assert (await videos.retry(FAILED)).status is not VideoStatus.FAILED
    await videos.remove(DELETING)

    table = await SlotTables(backbone.database).load_or_create(5)
    assert (table.version, table.shards) == (1, 2), "the table of the release stands"


async def test_what_is_stored_now_has_all_that_the_release_reads(backbone: Backbone) -> None:
    await put_back(backbone)
    model = next(one for one in golden()["videos"] if one["_id"] == READY)
    made = "vid_01h00000000000000000000009"
    source = Source(filename="talk.mp4", content_type="video/mp4", bytes=5, sha256="0" * 64)
    await backbone.videos.create(made, title="A talk", source=source)
    await backbone.videos.begin_processing(made)
    await backbone.videos.add_slice(made, "00000", start_time=0.0, end_time=300.0)
    await backbone.videos.finish_slicing(made, duration=300.0)
    await embed(backbone, made, "00000")
    assert await backbone.videos.slice_indexed(made, "00000", sequence=9)
    stored = await backbone.database["videos"].find_one({"_id": made})
    assert stored is not None
    assert lacking(model, stored, "video") == []
    await SlotTables(backbone.database).load_or_create(2)
    table = await backbone.database["routing"].find_one({"_id": "slot_table"})
    assert lacking(golden()["routing"][0], table, "routing") == []


def lacking(model: Any, now: Any, where: str) -> list[str]:
    """What of a document of the release is not there, or of another type; what is more is no matter."""
    if isinstance(model, dict):
        if not isinstance(now, dict):
            return [where]
        gone = [f"{where}.{key}" for key in model if key not in now]
        return gone + [
            problem for key in model if key in now for problem in lacking(model[key], now[key], f"{where}.{key}")
        ]
    if isinstance(model, list):
        if not isinstance(now, list):
            return [where]
        return lacking(model[0], now[0], f"{where}[]") if model and now else []
    # Nothing yet is no type.
    return [] if model is None or now is None or type(model) is type(now) else [f"{where}: {type(now).__name__}"]


def test_what_lacks_is_named() -> None:
    assert lacking({"a": {"b": 1}, "c": [{"d": "x"}]}, {"a": {"b": 1, "e": 2}, "c": [{"d": "y"}]}, "") == []
    assert lacking({"a": {"b": 1}, "c": [{"d": "x"}]}, {"a": {"b": "1"}, "c": [{}]}, "") == [".a.b: str", ".c[].d"]
