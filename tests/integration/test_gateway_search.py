"""A whole gateway's search: filters, receipts, indexers that come and go, slots that move, two models."""

import datetime as dt
import itertools
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.internal.v1 import shard_service_pb2 as shard_pb
from earmark.v1 import search_service_pb2 as pb
from earmark.v1 import search_service_pb2_grpc as pb_grpc
from services.common.ids import slot_of
from services.common.index_token import IndexToken
from services.common.registry import IndexerRegistry, Peer
from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from services.gateway.search import SearchMode
from tests.support.gateway import Gateway, gateway
from tests.support.gateway_peers import FakeShard, chunk, peer, video_of_slot
from tests.support.waiting import eventually

FIRST, SECOND = range(128), range(128, 256)
LONG, SHORT, OLD = video_of_slot(FIRST), video_of_slot(SECOND), video_of_slot(SECOND, 1)


def fill(mesh: Gateway) -> None:
    mesh.index(
        chunk(LONG, 0, "bread rises", speaker="Ada"),
        chunk(SHORT, 0, "bread and butter", speaker="Bob"),
        chunk(OLD, 0, "bread of old", speaker="Ada"),
    )
    for shard in mesh.shards:
        shard.videos = {
            LONG: described(LONG, "talks", ["baking", "long"], "2026-11-20T12:00:00Z", 3600),
            SHORT: described(SHORT, "clips", ["baking"], "2026-11-23T12:00:00Z", 60.5),
            OLD: described(OLD, "talks", [], "2025-01-01T00:00:00Z", 600),
        }


def described(video_id: str, collection: str, tags: list[str], at: str, seconds: float) -> shard_pb.IndexedVideo:
    uploaded, duration = Timestamp(), Duration()
    uploaded.FromDatetime(dt.datetime.fromisoformat(at))
    duration.FromNanoseconds(round(seconds * 1e9))
    return shard_pb.IndexedVideo(
        video_id=video_id, collection=collection, tags=tags, uploaded_at=uploaded, duration=duration
    )


async def found(mesh: Gateway, **params: Any) -> set[str]:
    response = await mesh.http.get("/search", params={"q": "bread", **params})
    assert response.status_code == 200, response.text
    return {hit["video_id"] for hit in response.json()["hits"]}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {LONG, SHORT, OLD}),
        ({"collection": "talks"}, {LONG, OLD}),
        ({"collection": ["talks", "clips"]}, {LONG, SHORT, OLD}),
        ({"speaker": "Ada"}, {LONG, OLD}),
        ({"tag": "baking"}, {LONG, SHORT}),
        ({"tag": ["baking", "long"]}, {LONG}),
        ({"uploaded_since": "2026-11-20"}, {LONG, SHORT}),
        ({"uploaded_since": "2026-11-20T12:00:00.001Z"}, {SHORT}),
        ({"uploaded_before": "2026-11-20T13:00:00+01:00"}, {OLD}),
        ({"uploaded_since": "2025-01-01", "uploaded_before": "2026-11-21"}, {LONG, OLD}),
        ({"min_duration": "600"}, {LONG, OLD}),
        ({"max_duration": "60.5"}, {SHORT}),
        ({"collection": "talks", "speaker": "Ada", "max_duration": "1e3"}, {OLD}),
        ({"collection": "nowhere"}, set()),
    ],
)
async def test_filters(mesh: Gateway, params: dict[str, Any], expected: set[str]) -> None:
    fill(mesh)
    assert await found(mesh, **params) == expected


async def test_a_hit_names_who_speaks(mesh: Gateway) -> None:
    fill(mesh)
    mesh.index(chunk(SHORT, 1, "bread that nobody owns up to"))
    hits = (await mesh.http.get("/search", params={"q": "bread"})).json()["hits"]
    assert {hit["video_id"]: hit["speaker"] for hit in hits} == {LONG: "Ada", SHORT: "Bob", OLD: "Ada"}
    assert [[further["speaker"] for further in hit["more"]] for hit in hits if hit["video_id"] == SHORT] == [[None]]


async def test_a_plus_sign_that_was_not_escaped_is_meant_as_one(mesh: Gateway) -> None:
    fill(mesh)
    response = await mesh.http.get("/search?q=bread&uploaded_since=2026-11-23T13:00:00+01:00")
    assert [hit["video_id"] for hit in response.json()["hits"]] == [SHORT]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"collection": ""}, "collection"),
        ({"tag": ["x"] * 101}, "tag"),
        ({"speaker": "x" * 201}, "speaker"),
        ({"uploaded_since": "yesterday"}, "uploaded_since"),
        ({"uploaded_since": "2026-02-30"}, "uploaded_since"),
        ({"uploaded_since": "2026-11-24", "uploaded_before": "2026-11-23"}, "uploaded_since"),
        ({"min_duration": "nan"}, "min_duration"),
        ({"min_duration": "-1"}, "min_duration"),
        ({"max_duration": "an hour"}, "max_duration"),
        ({"min_duration": "2", "max_duration": "1"}, "min_duration"),
        ({"min_token": "ix1-zz-1"}, "min_token"),
        ({"min_token": ["ix1-00-1"] * 101}, "min_token"),
    ],
)
async def test_a_wrong_filter_is_refused_with_its_field(mesh: Gateway, params: dict[str, Any], field: str) -> None:
    response = await mesh.http.get("/search", params={"q": "bread", **params})
    assert response.status_code == 400
    assert response.json()["error"]["details"][1]["field"] == field


async def test_a_cursor_belongs_to_its_filter(mesh: Gateway) -> None:
    fill(mesh)
    first = (await mesh.http.get("/search", params={"q": "bread", "limit": 1, "collection": "talks"})).json()
    params = {"q": "bread", "limit": 1, "cursor": first["next_cursor"]}
    second = (await mesh.http.get("/search", params={**params, "collection": "talks"})).json()
    assert {first["hits"][0]["video_id"], second["hits"][0]["video_id"]} == {LONG, OLD}
    refused = await mesh.http.get("/search", params=params)
    assert refused.json()["error"]["details"][1]["field"] == "cursor"


async def test_grpc_has_the_same_filters_and_coverage(mesh: Gateway) -> None:
    fill(mesh)
    await mesh.shards[0].advance(7)
    stub = pb_grpc.SearchServiceStub(mesh.channel)
    since, length = Timestamp(), Duration(seconds=600)
    since.FromDatetime(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    request = pb.SearchRequest(
        query="bread", collections=["talks"], speakers=["Ada"], tags=["long"], uploaded_since=since, min_duration=length
    )
    answer = await stub.Search(request)
    assert [hit.video_id for hit in answer.hits] == [LONG]
    assert [(replica.shard, replica.applied_sequence) for replica in answer.coverage.replicas] == [(0, 7), (1, 0)]
    assert answer.coverage.tokens_reached
    for wrong in (
        pb.SearchRequest(query="bread", collections=["a/b"]),
        pb.SearchRequest(query="bread", uploaded_before=Timestamp(seconds=-(10**12))),
        pb.SearchRequest(query="bread", max_duration=Duration(seconds=-1)),
        pb.SearchRequest(query="bread", min_tokens=["x"]),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Search(wrong)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_video_says_what_of_it_is_searchable_and_a_search_waits_for_it(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    videos = mesh.backbone.videos
    path = f"/videos/{video_id}"
    assert (await mesh.http.get(path)).json()["index_token"] is None
    await videos.begin_processing(video_id)
    await videos.add_slice(video_id, "00000", start_time=0, end_time=30)
    await videos.slice_transcribed(video_id, "00000", language="en", asr_model="m")
    await videos.slice_embedded(video_id, "00000", chunks=[], embedding_model="m")
    await videos.slice_indexed(video_id, "00000", sequence=4711)
    token = (await mesh.http.get(path)).json()["index_token"]
    assert token == IndexToken(slot_of(video_id), 4711).encode()
    assert (await mesh.http.get(f"{path}/status")).json()["index_token"] == token

    late = (await mesh.http.get("/search", params={"q": "bread", "min_token": token})).json()
    assert (late["coverage"]["tokens_reached"], late["coverage"]["complete"]) == (False, True)
    owner = mesh.shards[slot_of(video_id) // 128]
    await owner.advance(4711)
    there = (await mesh.http.get("/search", params={"q": "bread", "min_token": token})).json()
    assert there["coverage"]["tokens_reached"] is True
    other = mesh.shards[1 - owner.shard]
    assert other.last_request is not None
    assert other.last_request.min_sequence == 0


# ── indexers come and go ─────────────────────────────────────────────────────────────────────────


async def test_indexers_that_come_move_and_go_are_noticed(own_mesh: Gateway) -> None:
    fill(own_mesh)
    registry = IndexerRegistry(own_mesh.backbone.database)
    first = own_mesh.shards[0]
    second = FakeShard(0, list(first.chunks), replica=1, videos=first.videos)

    asked = itertools.count()

    async def answered_by(shard: int, replica: int) -> bool:
        # The same question would go to the same replica.
        response = (await own_mesh.http.get("/search", params={"q": "bread" + " ?" * (next(asked) % 16)})).json()
        assert len(response["hits"]) == 3, "no search is lost meanwhile"
        assert response["coverage"]["complete"]
        return {"shard": shard, "replica": replica, "applied_sequence": 0, "lag": 0} in response["coverage"]["replicas"]

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(peer(second))
        await registry.announce(Peer(0, 1, server.target))
        await eventually(lambda: answered_by(0, 1))
        await registry.withdraw(Peer(0, 0, own_mesh.servers["shard 0"].target))

        async def alone() -> bool:
            before = first.behaviour.calls
            for _ in range(5):
                await answered_by(0, 1)
            return first.behaviour.calls == before

        await eventually(alone)
        moved = await stack.enter_async_context(peer(first))
        await registry.announce(Peer(0, 0, moved.target))
        await eventually(lambda: answered_by(0, 0))
    state = (await own_mesh.http.get("/readyz")).json()["checks"]["shard 0"]
    assert state["detail"].endswith("of 2 replicas")


async def test_one_replica_dead_and_the_answers_are_the_same(own_mesh: Gateway) -> None:
    fill(own_mesh)
    registry = IndexerRegistry(own_mesh.backbone.database)
    first = own_mesh.shards[0]
    before = (await own_mesh.http.get("/search", params={"q": "bread"})).json()["hits"]
    async with AsyncExitStack() as stack:
        second = FakeShard(0, list(first.chunks), replica=1, videos=first.videos)
        server = await stack.enter_async_context(peer(second))
        await registry.announce(Peer(0, 1, server.target))

        async def joined() -> bool:
            await found(own_mesh)
            return second.behaviour.calls > 0

        await eventually(joined)
        first.ready = False
        for _ in range(10):
            answer = (await own_mesh.http.get("/search", params={"q": "bread"})).json()
            assert (answer["hits"], answer["coverage"]["complete"]) == (before, True)


async def test_before_there_is_an_index_a_search_says_so_and_then_it_works(common_settings: CommonSettings) -> None:
    async with gateway(common_settings) as mesh:
        fill(mesh)
        routing = mesh.backbone.database["routing"]
        await routing.delete_many({})

        async def no_shards() -> bool:
            response = await mesh.http.get("/search", params={"q": "bread"})
            return response.status_code == 503 and response.json()["error"]["details"][0]["reason"] == "NO_SHARDS"

        await eventually(no_shards)
        ready = await mesh.http.get("/readyz")
        assert ready.status_code == 503
        assert not ready.json()["checks"]["index"]["ready"]
        await SlotTables(mesh.backbone.database).load_or_create(2)

        async def searched() -> bool:
            return (await mesh.http.get("/search", params={"q": "bread"})).status_code == 200

        await eventually(searched)


async def test_a_slot_that_has_moved_is_asked_of_its_new_shard_at_once(common_settings: CommonSettings) -> None:
    """The gateway's table is old (it looks once a minute); the shard that refuses makes it look."""
    async with gateway(common_settings, routing_every_seconds=60) as mesh:
        fill(mesh)
        assert await found(mesh) == {LONG, SHORT, OLD}
        tables = SlotTables(mesh.backbone.database)
        slot = slot_of(LONG)
        source, target = mesh.shards
        source.slots, target.slots = frozenset(FIRST) - {slot}, frozenset(SECOND) | {slot}
        target.chunks += [each for each in source.chunks if each.video_id == LONG]
        source.chunks = [each for each in source.chunks if each.video_id != LONG]
        table = await tables.load()
        assert table is not None
        assert await tables.begin(table, {slot: 1})
        table = await tables.load()
        assert table is not None
        assert await tables.switch(table, {slot})
        assert await found(mesh) == {LONG, SHORT, OLD}


async def test_two_models_are_a_conflict_that_says_what_to_do(mesh: Gateway) -> None:
    fill(mesh)
    mesh.shards[1].model = "old-model@2"
    for mode in (SearchMode.HYBRID, SearchMode.SEMANTIC):
        response = await mesh.http.get("/search", params={"q": "bread", "mode": mode.value})
        error = response.json()["error"]
        assert (response.status_code, error["status"], error["details"][0]["reason"]) == (
            409,
            "FAILED_PRECONDITION",
            "MODEL_MISMATCH",
        )
        assert error["details"][0]["metadata"] == {
            "query_model": "hash-words@1",
            "index_model": "old-model@2",
            "shards": "1",
        }
    assert await found(mesh, mode="keyword") == {LONG, SHORT, OLD}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pb_grpc.SearchServiceStub(mesh.channel).Search(pb.SearchRequest(query="bread"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
