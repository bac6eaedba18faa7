"""The mesh at a glance, of a whole gateway on real servers."""

from __future__ import annotations

from services.common.events.roll_call import call_roll
from services.common.registry import IndexerRegistry, Peer
from services.common.settings import CommonSettings
from tests.support import free_port
from tests.support.gateway import Gateway, gateway
from tests.support.gateway_peers import chunk


async def test_an_operator_sees_index_queues_workers_speed_and_queries(own_mesh: Gateway) -> None:
    video = await own_mesh.upload()
    own_mesh.index(chunk(video["video_id"], 0, "the yeast eats the sugar"))
    for query in ("yeast", "Yeast", "sugar"):
        assert (await own_mesh.http.get("/search", params={"q": query})).status_code == 200
    answer = await own_mesh.http.get("/v1/operations")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert [shard["shard"] for shard in shown["shards"]] == [0, 1]
    assert all(shard["replicas"][0]["state"] == "ready" for shard in shown["shards"])
    queues = {queue["work"]: queue for queue in shown["queues"]}
    assert (queues["slicer"]["pending"], queues["slicer"]["stage"]) == (1, "slice")
    assert queues["slicer"]["oldest_s"] >= 0
    assert queues["embedder"] == {
        "stage": "embed",
        "work": "embedder",
        "pending": 0,
        "in_flight": 0,
        "oldest_s": None,
    }
    (worker,) = shown["workers"]
    assert (worker["service"], worker["pid"] > 0) == ("gateway", True)
    assert {work["work"] for work in worker["work"]} == {"cleaner", "undertaker", "advisories"}
    assert shown["throughput"]["videos_ready"] == 0
    assert shown["search"]["count"] == 3
    assert 0 < shown["search"]["p50_ms"] <= shown["search"]["p99_ms"]
    assert (shown["queries"]["frequent"][0]["query"], shown["queries"]["frequent"][0]["count"]) == ("Yeast", 2)
    assert shown["problems"] == []


async def test_what_does_not_answer_is_shown_as_away(own_mesh: Gateway) -> None:
    await IndexerRegistry(own_mesh.backbone.database).announce(Peer(1, 1, f"127.0.0.1:{free_port()}"))
    shown = (await own_mesh.http.get("/v1/operations")).json()
    assert [[one["state"] for one in shard["replicas"]] for shard in shown["shards"]] == [["ready"], ["ready", "away"]]
    assert shown["shards"][1]["replicas"][1]["problem"]


async def test_queries_are_not_shown_where_they_are_not_kept(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, query_statistics=False) as mesh:
        await mesh.http.get("/search", params={"q": "what nobody should know"})
        answer = await mesh.http.get("/v1/operations")
        assert answer.json()["queries"] == {"kept": False, "frequent": [], "without_results": []}
        assert "nobody should know" not in answer.text


async def test_the_roll_is_answered_as_long_as_the_process_serves(own_mesh: Gateway) -> None:
    assert [one["service"] for one in await call_roll(own_mesh.backbone.bus, seconds=0.2)] == ["gateway"]
    own_mesh.stop.set()
    assert own_mesh.task is not None
    await own_mesh.task
    assert await call_roll(own_mesh.backbone.bus, seconds=0.2) == []
