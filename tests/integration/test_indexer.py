"""The indexer on real NATS, MongoDB protocol and gRPC: events in, answers out."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.ids import new_video_id, slot_of
from services.common.rpc import from_rpc
from services.common.slots import SlotTables
from services.common.videos.model import ChunkRecord, SliceState, VideoStatus
from tests.integration.indexer_support import Indexer, add_slice, add_video, indexer, indexer_settings
from tests.support.mesh import Backbone
from tests.support.waiting import eventually
from tests.unit.indexer.builders import MODEL, vector_of


async def ready(backbone: Backbone, video_id: str) -> bool:
    return (await backbone.videos.get(video_id)).status is VideoStatus.READY


async def test_an_embedded_slice_is_searchable_and_its_video_ready(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        video_id = await add_video(backbone, [["how to set the white balance"], ["export the layers"]], title="Photos")
        await eventually(lambda: ready(backbone, video_id))
        response = await one.search("white balance", near="export the layers")
        by_text = {hit.chunk.text: hit for hit in response.hits}
        said = by_text["how to set the white balance"]
        assert said.HasField("keyword_score")
        assert not by_text["export the layers"].HasField("keyword_score")
        assert by_text["export the layers"].semantic_score == pytest.approx(1.0, abs=1e-3)
        assert (said.chunk.video_id, said.chunk.title, said.chunk.language) == (video_id, "Photos", "en")
        assert (said.chunk.end_offset.seconds, len(said.chunk.sentence_marks)) == (30, 1)
        assert list(response.legs) == ["semantic", "keyword"]
        state = await one.state()
        assert (state.chunk_count, state.video_count, state.model_revision, state.ready) == (2, 1, MODEL, True)
        assert (state.shard, state.replica, state.shards_total, state.origin) == (0, 0, 1, "empty")


async def test_a_deleted_video_is_gone_from_both_legs(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        gone, stays = await add_video(backbone, [["apple pie"]]), await add_video(backbone, [["apple tart"]])
        await eventually(lambda: ready(backbone, gone))
        await eventually(lambda: ready(backbone, stays))
        await backbone.videos.mark_deleting(gone)
        await eventually(lambda: _texts(one, ["apple tart"]))
        assert [hit.chunk.text for hit in (await one.search("apple")).hits] == ["apple tart"]


async def _texts(one: Indexer, expected: list[str]) -> bool:
    return sorted((await one.contents()).values()) == expected


async def test_an_event_of_a_video_that_is_going_adds_nothing(backbone: Backbone, tmp_path: Path) -> None:
    going = await add_video(backbone, [["apple pie"]])
    await backbone.videos.mark_deleting(going)
    gone = await add_video(backbone, [["pear tart"]])
    await backbone.videos.mark_deleting(gone)
    await backbone.videos.remove(gone)
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        stays = await add_video(backbone, [["plum cake"]])
        await eventually(lambda: ready(backbone, stays))
        assert await _texts(one, ["plum cake"])


async def test_vectors_of_another_model_fail_their_slice_with_a_reason(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        first = await add_video(backbone, [["apple pie"]])
        await eventually(lambda: ready(backbone, first))
        other = new_video_id()
        await backbone.videos.create(other, title="B", url="https://example.org/b.mp4")
        await backbone.videos.begin_processing(other)
        await add_slice(backbone.videos, other, "00000", ["pear tart"], model="other-model@2")
        await backbone.videos.finish_slicing(other, duration=300)

        async def failed() -> bool:
            return (await backbone.videos.get(other)).status is VideoStatus.FAILED

        await eventually(failed)
        video = await backbone.videos.get(other)
        assert video.error is not None
        assert (video.error.stage, video.error.reason, video.error.slice_id) == (
            "index", "MODEL_MISMATCH", "00000"
        )  # fmt: skip
        # It is not tried for ever: what comes after it goes on.
        third = await add_video(backbone, [["plum cake"]])
        await eventually(lambda: ready(backbone, third))
        assert await _texts(one, ["apple pie", "plum cake"])


async def test_a_wrong_vector_fails_its_slice_and_no_other(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        video_id = await add_video(backbone, [["apple pie"], ["pear tart"]])
        await eventually(lambda: ready(backbone, video_id))
        videos, other = backbone.videos, new_video_id()
        await videos.create(other, title="B", url="https://example.org/b.mp4")
        await videos.begin_processing(other)
        for slice_id, vector in (("00000", np.full(16, np.nan, np.float32)), ("00001", vector_of("plum cake"))):
            await videos.add_slice(other, slice_id, start_time=0, end_time=300)
            await videos.slice_transcribed(other, slice_id, language="en", asr_model="a")
            chunk = ChunkRecord(f"{other}/{slice_id}/0000", slice_id, "plum cake", 0.0, 30.0, vector)
            await videos.slice_embedded(other, slice_id, chunks=[chunk], embedding_model=MODEL)
        await videos.finish_slicing(other, duration=600)

        async def states() -> list[SliceState]:
            return [part.state for part in (await videos.get(other)).slices]

        await eventually(lambda: _equal(states, [SliceState.FAILED, SliceState.INDEXED]))
        video = await videos.get(other)
        assert video.error is not None
        assert (video.error.reason, video.error.slice_id) == ("INVALID_ARGUMENT", "00000")
        assert await _texts(one, ["apple pie", "pear tart", "plum cake"])


async def _equal(get: Callable[[], Awaitable[object]], expected: object) -> bool:
    return await get() == expected


async def test_each_shard_holds_the_videos_of_its_slots_only(backbone: Backbone, tmp_path: Path) -> None:
    settings = [indexer_settings(backbone.settings, tmp_path / str(n), shards=2, indexer_ordinal=n) for n in range(2)]
    async with indexer(settings[0]) as first, indexer(settings[1]) as second:
        await asyncio.gather(first.until_serving(), second.until_serving())
        videos = [await add_video(backbone, [[f"apple {number}"]]) for number in range(8)]
        for video_id in videos:
            await eventually(lambda video_id=video_id: ready(backbone, video_id))
        table = await SlotTables(backbone.database).load_or_create(2)
        for number, one in enumerate((first, second)):
            held = {chunk_id.split("/")[0] for chunk_id in await one.contents()}
            assert held == {video_id for video_id in videos if table.owners[slot_of(video_id)] == number}


async def test_two_replicas_end_with_the_same_content(backbone: Backbone, tmp_path: Path) -> None:
    settings = [indexer_settings(backbone.settings, tmp_path / str(n), shards=1, indexer_ordinal=n) for n in range(2)]
    async with indexer(settings[0]) as first, indexer(settings[1]) as second:
        await asyncio.gather(first.until_serving(), second.until_serving())
        videos = [await add_video(backbone, [[f"apple {number}", "pear"], ["plum"]]) for number in range(5)]
        await backbone.videos.mark_deleting(videos[2])
        expected = 4 * 3

        async def agree() -> bool:
            states = await asyncio.gather(first.state(), second.state())
            return {state.chunk_count for state in states} == {expected}

        await eventually(agree)
        assert [(await one.state()).replica for one in (first, second)] == [0, 1]
        answers = [await one.search("apple pear", near="apple 1") for one in (first, second)]
        scores = [
            {hit.chunk.chunk_id: (hit.chunk.text, round(hit.semantic_score, 5)) for hit in answer.hits}
            for answer in answers
        ]
        assert scores[0] == scores[1]
        assert len(scores[0]) == expected


async def test_chunks_can_be_put_and_videos_removed_by_call_and_that_lasts(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path)
    video_id, other = new_video_id(), new_video_id()

    def message(video: str, text: str) -> pb.Chunk:
        return pb.Chunk(
            chunk_id=f"{video}/00000/0000", video_id=video, text=text, title="T",
            vector=vector_of(text).astype("<f4").tobytes(),
        )  # fmt: skip

    async with indexer(settings) as one:
        await one.until_serving()
        chunks = [message(video_id, "apple"), message(other, "pear")]
        response = await one.stub.UpsertChunks(pb.UpsertChunksRequest(chunks=chunks, model_revision=MODEL))
        assert response.chunks_upserted == 2
        assert (await one.stub.DeleteVideo(pb.DeleteVideoRequest(video_id=other))).chunks_deleted == 1
        assert (await one.stub.DeleteVideo(pb.DeleteVideoRequest(video_id=other))).chunks_deleted == 0
        assert list((tmp_path / "snapshots").iterdir()) != []
    async with indexer(settings) as again:
        await again.until_serving()
        assert await _texts(again, ["apple"])
        assert (await again.state()).origin == "snapshot"


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (pb.SearchShardRequest(text="x", k=0), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (pb.SearchShardRequest(text="x", k=10**6), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (pb.SearchShardRequest(text="x", k=-1), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (
            pb.SearchShardRequest(vector=np.ones(8, "<f4").tobytes(), k=5, model_revision=MODEL),
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
        (
            pb.SearchShardRequest(vector=np.full(16, np.nan, "<f4").tobytes(), k=5, model_revision=MODEL),
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
        (pb.SearchShardRequest(text="x", k=5, slots=b"abc"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (
            pb.SearchShardRequest(text="x", k=5, filter=pb.ChunkFilter(video_ids=[str(n) for n in range(100_001)])),
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
        (pb.SearchShardRequest(text="x", k=1001), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (pb.SearchShardRequest(k=5), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (pb.SearchShardRequest(text="x" * 1_000_000, k=5), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (pb.SearchShardRequest(vector=b"abc", k=5), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (pb.SearchShardRequest(vector=bytes(64), k=5, model_revision=MODEL), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (
            pb.SearchShardRequest(vector=np.ones(16, "<f4").tobytes(), k=5, model_revision="other"),
            "FAILED_PRECONDITION",
            "MODEL_MISMATCH",
        ),
    ],
    ids=[
        "k0",
        "k1000000",
        "k-1",
        "8 numbers",
        "nan",
        "3 bytes of slots",
        "100,001 ids",
        "k1001",
        "nothing",
        "1MB",
        "3 bytes",
        "zero",
        "model",
    ],
)
async def test_wrong_calls_get_a_clear_status(
    backbone: Backbone, tmp_path: Path, request_: pb.SearchShardRequest, code: str, reason: str
) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        video_id = await add_video(backbone, [["apple pie"]])
        await eventually(lambda: ready(backbone, video_id))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.stub.SearchShard(request_, timeout=5)
        error = from_rpc(refused.value, peer="indexer")
        assert (error.code, error.reason) == (code, reason)


async def test_chunks_of_another_shards_video_are_refused(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path, shards=2)) as one:
        await one.until_serving()
        table = await SlotTables(backbone.database).load_or_create(2)
        foreign = next(video for video in iter(new_video_id, "") if table.shard_of(video) == 1)
        vector = vector_of("x").astype("<f4").tobytes()
        chunk = pb.Chunk(chunk_id=f"{foreign}/00000/0000", video_id=foreign, text="x", vector=vector)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.stub.UpsertChunks(pb.UpsertChunksRequest(chunks=[chunk], model_revision=MODEL))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_too_many_searches_are_refused_and_the_others_answered(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path, search_threads=1, search_queue=2)
    async with indexer(settings) as one:
        await one.until_serving()
        video_id = await add_video(backbone, [[f"apple {number}" for number in range(300)]])
        await eventually(lambda: ready(backbone, video_id))
        asked = [one.search("apple " * 200, near="apple") for _ in range(100)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert 0 < len(refused) < 100
        assert len((await one.search("apple")).hits) == 100
