"""Searches through gRPC: filters, many at once, every kind of vector index."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.rpc import from_rpc
from services.common.videos.model import VideoStatus
from services.indexer.chunks import Chunk, Filter, VideoInfo
from services.indexer.dense import DenseKind
from tests.integration.indexer_support import Indexer, add_video, indexer, indexer_settings, search_request
from tests.support.mesh import Backbone
from tests.support.waiting import eventually
from tests.unit.indexer.builders import MODEL, vector_of
from tests.unit.indexer.conformance import Answer, conforms


async def ready(backbone: Backbone, *videos: str) -> bool:
    return all([(await backbone.videos.get(video_id)).status is VideoStatus.READY for video_id in videos])


def moment(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


def length(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


async def texts(one: Indexer, chosen: pb.ChunkFilter) -> list[str]:
    """What both legs find."""
    said = sorted(hit.chunk.text for hit in (await one.search("apple", chosen=chosen)).hits)
    near = sorted(hit.chunk.text for hit in (await one.search(near="apple", chosen=chosen)).hits)
    assert said == near
    return said


async def test_every_filter_reaches_from_the_documents_to_the_answer(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        a = await add_video(
            backbone,
            [["apple a"]],
            collection="garden",
            tags=["red", "green"],
            language="de",
            speaker="Ann",
            duration=90,
        )
        b = await add_video(backbone, [["apple b"]], collection="kitchen", tags=["red"], speaker="Bob", duration=3600.5)
        c = await add_video(backbone, [["apple c"]], duration=7200)
        await eventually(lambda: ready(backbone, a, b, c), 20)
        uploaded = {v: (await backbone.videos.get(v)).metadata.uploaded_at.timestamp() for v in (a, b, c)}
        cases: list[tuple[pb.ChunkFilter, list[str]]] = [
            (pb.ChunkFilter(), ["apple a", "apple b", "apple c"]),
            (pb.ChunkFilter(video_ids=[a, c]), ["apple a", "apple c"]),
            (pb.ChunkFilter(language="de"), ["apple a"]),
            (pb.ChunkFilter(speakers=["Ann", "Eve"]), ["apple a"]),
            (pb.ChunkFilter(collections=["garden", "kitchen"]), ["apple a", "apple b"]),
            (pb.ChunkFilter(tags=["red"]), ["apple a", "apple b"]),
            (pb.ChunkFilter(tags=["red", "green"]), ["apple a"]),
            (pb.ChunkFilter(uploaded_since=moment(uploaded[b])), ["apple b", "apple c"]),
            (pb.ChunkFilter(uploaded_before=moment(uploaded[b])), ["apple a"]),
            (pb.ChunkFilter(min_duration=length(3600.5)), ["apple b", "apple c"]),
            (pb.ChunkFilter(max_duration=length(3600.5)), ["apple a", "apple b"]),
            (pb.ChunkFilter(collections=["garden"], speakers=["Bob"]), []),
            (pb.ChunkFilter(language="en", tags=["red"], max_duration=length(4000)), ["apple b"]),
        ]
        for chosen, expected in cases:
            assert await texts(one, chosen) == expected, chosen

        # What is said of a video later, too; its chunks stay as they are.
        await backbone.videos.describe(c, {"title": "New", "collection": "garden", "tags": ["blue"]})
        await one.describe([0], min_sequence=await backbone.bus.last_sequence())
        assert await texts(one, pb.ChunkFilter(collections=["garden"])) == ["apple a", "apple c"]
        assert await texts(one, pb.ChunkFilter(tags=["blue"])) == ["apple c"]
        (hit,) = (await one.search("apple", chosen=pb.ChunkFilter(tags=["blue"]))).hits
        assert hit.chunk.title == "New"
        await backbone.videos.describe(c, {"tags": []})
        await one.describe([0], min_sequence=await backbone.bus.last_sequence())
        assert await texts(one, pb.ChunkFilter(tags=["blue"])) == []
        assert (await one.state()).chunk_count == 3
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as again:
        await again.until_serving()
        assert (await again.state()).origin == "snapshot"
        for chosen, expected in cases[2:6]:
            assert await texts(again, chosen) == (expected if not chosen.collections else [*expected, "apple c"])


async def test_a_filter_of_a_hundred_thousand_videos_is_answered(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        here, other = await add_video(backbone, [["apple a"]]), await add_video(backbone, [["apple b"]])
        await eventually(lambda: ready(backbone, here, other), 20)
        others = [f"vid_{number:026d}" for number in range(99_999)]
        assert await texts(one, pb.ChunkFilter(video_ids=[*others, here])) == ["apple a"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.search("apple", chosen=pb.ChunkFilter(video_ids=[*others, here, other]))
        error = from_rpc(refused.value, peer="indexer")
        assert error.code == "INVALID_ARGUMENT"
        assert "100001 video_ids" in error.message


async def test_searches_in_a_batch_give_what_each_gives_alone(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path, head_rows=8, search_threads=2)) as one:
        await one.until_serving()
        videos = [await add_video(backbone, [[f"apple {n}", f"pear {n}"]], language="en") for n in range(10)]
        await eventually(lambda: ready(backbone, *videos), 20)
        searches = [
            search_request("apple", k=3),
            search_request(near="pear 3", k=5),
            search_request("pear 4", near="apple 7", k=4, chosen=pb.ChunkFilter(video_ids=videos[:5])),
            search_request(near="pear 3", k=5, ids_only=True),
            search_request("nothing of the kind"),
            *(search_request(near=f"apple {n}", k=5) for n in range(10)),
        ]

        def shown(response: pb.SearchShardResponse) -> tuple[list[tuple[str, str, float, float]], list[str]]:
            hits = [
                (hit.chunk.chunk_id, hit.chunk.text, round(hit.semantic_score, 5), round(hit.keyword_score, 5))
                for hit in response.hits
            ]
            return sorted(hits), list(response.legs)

        together = await one.stub.SearchShardBatch(pb.SearchShardBatchRequest(searches=searches), timeout=20)
        alone = await asyncio.gather(*(one.stub.SearchShard(search, timeout=20) for search in searches))
        assert [shown(response) for response in together.responses] == [shown(response) for response in alone]
        assert [len(response.hits) for response in together.responses[:2]] == [3, 5]
        assert list(together.responses[4].hits) == []
        assert {hit.chunk.text for hit in together.responses[3].hits} == {""}

        wrong = [*searches, search_request("x", k=0)]
        for refused_batch in ([], wrong, [searches[0]] * 257):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await one.stub.SearchShardBatch(pb.SearchShardBatchRequest(searches=refused_batch), timeout=20)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_id_twice_in_one_call_is_refused_and_nothing_taken(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        chunks = [
            pb.Chunk(chunk_id="vid_a/00000/0000", video_id="vid_a", text=text, vector=vector_of(text).tobytes())
            for text in ("apple", "pear")
        ]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.stub.UpsertChunks(pb.UpsertChunksRequest(chunks=chunks, model_revision=MODEL), timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await one.state()).chunk_count == 0


class RemoteIndex:
    """An indexer through gRPC."""

    def __init__(self, one: Indexer) -> None:
        self._one = one

    async def put(self, chunks: Sequence[Chunk], infos: Mapping[str, VideoInfo]) -> None:
        request = pb.UpsertChunksRequest(model_revision=MODEL)
        for item in chunks:
            request.chunks.add(
                chunk_id=item.chunk_id,
                video_id=item.video_id,
                text=item.text,
                language=item.language,
                speaker=item.speaker,
                vector=vector_of(item.text).astype("<f4").tobytes(),
                start_offset=length(item.start_time),
                end_offset=length(item.end_time),
                sentence_marks=[pb.SentenceMark(char_offset=at, start_offset=length(time)) for at, time in item.marks],
            )
        for video_id, info in infos.items():
            video = request.videos.add(
                video_id=video_id,
                title=info.title,
                collection=info.collection,
                tags=info.tags,
                uploaded_at=moment(info.uploaded_at),
            )
            if info.duration is not None:
                video.duration.CopyFrom(length(info.duration))
        response = await self._one.stub.UpsertChunks(request, timeout=60)
        assert response.chunks_upserted == len(chunks)

    async def remove(self, video_id: str) -> None:
        response = await self._one.stub.DeleteVideo(pb.DeleteVideoRequest(video_id=video_id), timeout=60)
        assert response.chunks_deleted > 0

    async def search(
        self, *, text: str = "", near: str = "", k: int = 10, chosen: Filter | None = None
    ) -> dict[str, Answer]:
        response = await self._one.search(text, near=near, k=k, chosen=_message(chosen) if chosen else None)
        return {
            hit.chunk.chunk_id: Answer(
                hit.chunk.text,
                hit.semantic_score if hit.HasField("semantic_score") else None,
                hit.keyword_score if hit.HasField("keyword_score") else None,
            )
            for hit in response.hits
        }

    async def kinds(self) -> list[str]:
        # Each call of the above is durable when it returns, and so in a segment.
        return [part.kind for part in (await self._one.state()).segments if part.live]


def _message(chosen: Filter) -> pb.ChunkFilter:
    return pb.ChunkFilter(
        video_ids=chosen.video_ids,
        language=chosen.language,
        collections=chosen.collections,
        speakers=chosen.speakers,
        tags=chosen.tags,
        uploaded_since=None if chosen.uploaded_since is None else moment(chosen.uploaded_since),
        uploaded_before=None if chosen.uploaded_before is None else moment(chosen.uploaded_before),
        min_duration=None if chosen.min_duration is None else length(chosen.min_duration),
        max_duration=None if chosen.max_duration is None else length(chosen.max_duration),
    )


# The others conform in tests/unit/indexer; what is between them and the network is the same for all.
_OVER_THE_NETWORK = [pytest.param(kind, marks=() if kind is DenseKind.HNSW else pytest.mark.slow) for kind in DenseKind]


@pytest.mark.parametrize("kind", _OVER_THE_NETWORK)
async def test_every_kind_conforms(backbone: Backbone, tmp_path: Path, kind: DenseKind) -> None:
    settings = indexer_settings(backbone.settings, tmp_path, index_kind=kind, index_flat_rows=0, merge_factor=2)
    async with indexer(settings) as one:
        await one.until_serving()
        await conforms(RemoteIndex(one), kind)
