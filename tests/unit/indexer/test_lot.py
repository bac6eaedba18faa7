from pathlib import Path

import numpy as np
import pytest

from services.common.errors import Unavailable
from services.common.videos.model import ChunkRecord
from services.common.videos.stored import StoredVideo, chunk_records
from services.indexer.builder import Builder
from services.indexer.chunks import PutChunks
from services.indexer.lot import Taken, build_lot, vectors_of
from services.indexer.records import slice_batch, video_info
from services.indexer.shard import Shard
from tests.unit.indexer.builders import DIMENSION, MODEL, ask, digest, texts
from tests.unit.indexer.documents import given, metadata, record, stored


def taken(tmp_path: Path, *videos: StoredVideo) -> tuple[Shard, Taken]:
    """A shard with what was taken of some videos."""
    lot = given(tmp_path, *videos)
    result, shard = build_lot(lot), Shard()
    if result.rows:
        shard.attach(lot.target, result.infos)
    assert not list(lot.target.parent.glob("*.writing"))
    return shard, result


def refusals(result: Taken) -> dict[str, str]:
    return {f"{video.video_id}/{slice_id}": error.reason for video, slice_id, error in result.refused}


def test_a_lot_is_what_its_videos_make_one_by_one(tmp_path: Path) -> None:
    # "-" sorts before "/": the ids of "vid_a-b" and "vid_a" would interleave, were they compared as they are.
    videos = [
        stored("vid_b", record("vid_b", "the last"), collection="talks", tags=["red"], duration=61.5),
        stored("vid_a", record("vid_a", "pears", number=1), record("vid_a", "apples")),
        stored("vid_a-b", record("vid_a-b", "plums"), continued=[record("vid_a-b", "more", slice_id="00001")]),
        stored("vid_empty"),
    ]
    shard, result = taken(tmp_path, *videos)
    assert (result.rows, result.refused, result.done) == (5, [], [])
    same = Shard()
    for video, fields in [one.read() for one in videos]:
        records = chunk_records(fields)
        same.apply([PutChunks({video.video_id: video_info(video)}, slice_batch(video, "", records))])
    assert digest(shard) == digest(same)
    assert texts(ask(shard, "plums")) == ["plums"]
    assert shard.videos.info("vid_b") == same.videos.info("vid_b")
    assert [sorted(shard.slices_of(video)) for video in ("vid_a", "vid_a-b")] == [["00000"], ["00000", "00001"]]


def test_what_is_wrong_with_a_slice_refuses_that_slice(tmp_path: Path) -> None:
    zero = ChunkRecord("vid_a/00001/0000", "00001", "zero", 0.0, 1.0, np.zeros(DIMENSION, np.float32))
    shard, result = taken(
        tmp_path,
        stored(
            "vid_a",
            record("vid_a", "good"),
            zero.to_document(),
            record("vid_a", "backwards", slice_id="00002", start_time=9.0, end_time=8.0),
            record("vid_b", "of another video", slice_id="00003"),
            record("vid_a", "good too", slice_id="00004"),
        ),
        stored("vid_c", record("vid_c", "unreadable") | {"embedding": None}),
        stored("vid_d", record("vid_d", "of another model"), metadata=metadata("other@2")),
    )
    assert refusals(result) == {
        "vid_a/00001": "INVALID_ARGUMENT",
        "vid_a/00002": "INVALID_ARGUMENT",
        "vid_a/00003": "INVALID_ARGUMENT",
        "vid_c/00000": "CHUNKS_UNREADABLE",
        "vid_d/00000": "MODEL_MISMATCH",
    }
    assert result.rows == shard.chunk_count == 2
    assert result.infos.keys() == {"vid_a"}


def test_slices_whose_documents_do_not_say_so_yet_are_named(tmp_path: Path) -> None:
    slices = [
        {"slice_id": f"{number:05d}", "start_time": 0.0, "end_time": 30.0, "state": state, "attempts": 1}
        for number, state in enumerate(["indexed", "embedded", "transcribed"])
    ]
    chunks = [record("vid_a", f"text {number}", slice_id=f"{number:05d}") for number in range(3)]
    _, result = taken(
        tmp_path,
        stored("vid_a", *chunks, slices=slices),
        stored("vid_b", slices=slices, status="processing"),
    )
    assert result.rows == 2
    assert [(video.video_id, slice_id) for video, slice_id in result.done] == [
        ("vid_a", "00001"),
        ("vid_b", "00000"),
        ("vid_b", "00001"),
    ]


def test_a_lot_without_a_chunk_makes_no_segment(tmp_path: Path) -> None:
    shard, result = taken(tmp_path, stored("vid_a"))
    assert (result.rows, shard.chunk_count) == (0, 0)
    assert list((tmp_path / "segments").iterdir()) == []


def test_the_vectors_of_a_video_are_those_of_most_chunks() -> None:
    odd = ChunkRecord("vid_a/00000/0002", "00000", "odd", 0.0, 1.0, np.ones(3, np.float32)).to_document()
    both = [record("vid_a", "one"), record("vid_a", "two", number=1)]
    assert vectors_of(stored("vid_a", odd, *both)) == (MODEL, DIMENSION)
    assert vectors_of(stored("vid_a")) == ("", 0)
    assert vectors_of(stored("vid_a", record("vid_a", "x") | {"embedding": None})) == ("", 0)


async def test_a_disk_that_does_not_take_it_can_be_tried_again(tmp_path: Path) -> None:
    lot = given(tmp_path, stored("vid_a", record("vid_a", "apples")))
    builder = Builder()
    lot.target.parent.rmdir()
    lot.target.parent.touch()
    with pytest.raises(Unavailable):
        await builder.take(lot)
    lot.target.parent.unlink()
    lot.target.parent.mkdir()
    assert (await builder.take(lot)).rows == 1
    builder.close()
