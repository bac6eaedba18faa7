"""The operators' part of the HTTP API, with a gateway that drives and replicas that obey."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from services.common.errors import Unavailable
from services.common.registry import IndexerRegistry
from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from tests.support.gateway import Gateway, gateway
from tests.support.slot_peers import SlotReplica, slot_replicas
from tests.support.waiting import eventually

SLOTS = 256


class Operated:
    """A gateway, and three replicas that look at the slot table all the time."""

    def __init__(self, running: Gateway, tables: SlotTables, replicas: list[SlotReplica]) -> None:
        self.http = running.http
        self.tables = tables
        self.replicas = replicas
        self.over = False

    async def obey(self) -> None:
        # Not by cancelling: the driver of the database loses one now and then.
        while not self.over:
            if (table := await self.tables.load()) is not None:
                for replica in self.replicas:
                    replica.obey(table)
            await asyncio.sleep(0.05)

    async def settled(self) -> dict[str, object]:
        async def look() -> dict[str, object] | None:
            index: dict[str, object] = (await self.http.get("/shards")).json()
            return index if index["goal"] is None and not index["moves"] else None

        found = await eventually(look, 30, message="every slot in its place")
        assert found is not None
        return found


@pytest.fixture
async def mesh(common_settings: CommonSettings) -> AsyncIterator[Operated]:
    fast = {"rebalance_every_seconds": 0.05, "rebalance_grace_seconds": 0.1, "rebalance_in_flight": 64}
    async with gateway(common_settings, **fast) as running:
        database = running.backbone.database
        tables = SlotTables(database)
        await tables.load_or_create(2)
        documents = dict.fromkeys(range(SLOTS), 2)
        places = [(0, 0), (1, 0), (2, 0)]
        async with slot_replicas(IndexerRegistry(database), places, documents) as replicas:
            operated = Operated(running, tables, replicas)
            obeying = asyncio.create_task(operated.obey())
            await eventually(lambda: bool(replicas[0].chunks))
            try:
                yield operated
            finally:
                operated.over = True
                await obeying


def reason(response: httpx.Response) -> str:
    text: str = response.json()["error"]["details"][0]["reason"]
    return text


async def test_the_index_is_shown_with_replicas_that_are_away(mesh: Operated) -> None:
    mesh.replicas[1].error = Unavailable("on holiday")
    index = (await mesh.http.get("/shards")).json()
    assert (index["shards_total"], index["moves"], index["goal"]) == (2, [], None)
    assert [(shard["shard"], len(shard["slots"])) for shard in index["shards"]] == [(0, 128), (1, 128), (2, 0)]
    first, away, _ = (shard["replicas"][0] for shard in index["shards"])
    assert (first["answers"], first["chunk_count"], first["slots_held"]) == (True, 256, 128)
    assert (away["answers"], away["problem"]) == (False, "on holiday")
    short = (await mesh.http.get("/shards", params={"replicas": "false"})).json()
    assert [shard["replicas"] for shard in short["shards"]] == [[], []]


async def test_plan_scale_and_back(mesh: Operated) -> None:
    planned = (await mesh.http.post("/shards/plan", json={"shards": 3})).json()
    assert (planned["slots"], planned["chunks"], len(planned["moves"])) == (85, 170, 85)
    assert (await mesh.settled())["shards_total"] == 2, "a plan changes nothing"
    answer = await mesh.http.post("/shards/scale", json={"shards": 3})
    assert answer.status_code == 202
    assert answer.json()["moves"] == planned["moves"]
    index = await mesh.settled()
    assert index["shards_total"] == 3
    table = await mesh.tables.load()
    assert table is not None
    assert sorted(len(table.slots_of(shard)) for shard in range(3)) == [85, 85, 86]
    await mesh.http.post("/shards/scale", json={"shards": 2})
    assert (await mesh.settled())["shards_total"] == 2


async def test_slots_are_moved(mesh: Operated) -> None:
    planned = (await mesh.http.post("/shards/plan", json={"moves": [{"slots": [0, 1], "to": 1}]})).json()
    assert planned["slots"] == 2
    assert (await mesh.http.post("/shards/move", json={"slots": [0, 1], "to": 1})).status_code == 202
    await mesh.settled()
    table = await mesh.tables.load()
    assert table is not None
    assert (table.owners[0], table.owners[1], table.owners[2]) == (1, 1, 0)


async def test_a_move_that_waits_says_why_and_can_be_called_off(mesh: Operated) -> None:
    mesh.replicas[2].error = Unavailable("gone")
    await mesh.http.post("/shards/scale", json={"shards": 3})

    async def waiting() -> bool:
        index = (await mesh.http.get("/shards")).json()
        return bool(index["goal"]["waiting"] == ["no replica of shard 2 answers; start an indexer for it"])

    await eventually(waiting)
    again = (await mesh.http.post("/shards/scale", json={"shards": 3})).json()
    assert again["slots"] == 85
    assert (await mesh.http.post("/shards/cancel", json={})).json() == {"called_off": 0}
    assert (await mesh.settled())["shards_total"] == 3
    mesh.replicas[1].broken = {5}
    await mesh.http.post("/shards/move", json={"slots": [5], "to": 1})

    async def told() -> bool:
        moves = (await mesh.http.get("/shards")).json()["moves"]
        return bool(moves and moves[0]["reason"] and "s1r0 holds 3 chunks of it, s0r0 2" in moves[0]["reason"])

    await eventually(told)
    assert (await mesh.http.post("/shards/cancel", json={})).json() == {"called_off": 1}


async def test_rebuild_and_digests(mesh: Operated) -> None:
    asked = (await mesh.http.post("/shards/rebuild", json={"shard": 1, "replica": 0})).json()
    assert asked == {"replicas": [{"shard": 1, "replica": 0, "rebuilds": 0}]}
    assert [replica.rebuilds for replica in mesh.replicas] == [0, 1, 0]
    assert len((await mesh.http.post("/shards/rebuild", json={"all": True})).json()["replicas"]) == 3
    found = (await mesh.http.get("/shards/digests")).json()
    assert [len(replica["slots"]) for replica in found["replicas"]] == [128, 128, 0]
    assert found["replicas"][0]["slots"][3] == {
        "slot": 3,
        "chunk_count": 2,
        "digest": found["replicas"][0]["slots"][3]["digest"],
    }
    assert len(found["replicas"][0]["slots"][3]["digest"]) == 64


NONSENSE: list[tuple[str, object]] = [
    ("scale", {"shards": 0}),
    ("scale", {"shards": 257}),
    ("scale", {}),
    ("scale", {"shard": 3}),
    *(("scale", {"shards": wrong}) for wrong in (True, "1", 2.0)),
    ("plan", {"shards": "3"}),
    *(("move", {"slots": [wrong], "to": 1}) for wrong in (True, "1", 2.0)),
    *(("move", {"slots": [1], "to": wrong}) for wrong in (True, "1", 1.0)),
    ("rebuild", {"shard": True}),
    ("rebuild", {"shard": 0, "replica": "0"}),
    ("rebuild", {"all": 1}),
    ("move", {"slots": [], "to": 1}),
    ("move", {"slots": [256], "to": 1}),
    ("move", {"slots": [1], "to": 7}),
    ("plan", {}),
    ("plan", {"shards": 3, "moves": [{"slots": [1], "to": 1}]}),
    ("rebuild", {}),
    ("rebuild", {"all": True, "shard": 1}),
    ("rebuild", {"all": True, "replica": 0}),
]


async def test_nonsense_is_refused_and_changes_nothing(mesh: Operated) -> None:
    for path, body in NONSENSE:
        response = await mesh.http.post(f"/shards/{path}", json=body)
        assert (response.status_code, reason(response)) == (400, "INVALID_ARGUMENT"), (path, body)
    table = await mesh.tables.load()
    assert table is not None
    assert table.version == 1
    assert [replica.rebuilds for replica in mesh.replicas] == [0, 0, 0]


async def test_a_page_of_another_site_cannot_operate(mesh: Operated) -> None:
    """A browser sends no JSON elsewhere without asking first, and the gateway allows nobody who asks."""
    plain = {"content-type": "text/plain"}
    for path, body in (("cancel", "{}"), ("scale", '{"shards": 1}')):
        response = await mesh.http.post(f"/shards/{path}", content=body, headers=plain)
        assert response.status_code == 415
    assert (await mesh.http.post("/shards/cancel")).status_code == 400


async def test_a_body_that_is_no_json_object_is_answered_with_one_that_would_do(mesh: Operated) -> None:
    plain = {"content-type": "text/plain"}
    for path, example in (("scale", '{"shards": 3}'), ("move", '{"slots": [17, 18], "to": 2}'), ("cancel", "{}")):
        told = (await mesh.http.post(f"/shards/{path}", content=example, headers=plain)).json()["error"]["message"]
        assert told.endswith(f"such as {example}, sent with Content-Type: application/json"), told
    for path, example in (("plan", '{"shards": 3}'), ("rebuild", '{"all": true}')):
        told = (await mesh.http.post(f"/shards/{path}", json=[])).json()["error"]["message"]
        assert f"such as {example}" in told
    told = (await mesh.http.post("/videos", json=[])).json()["error"]["message"]
    assert 'such as {"url": "https://…"}' in told
    told = (await mesh.http.patch("/videos/vid_1", json=[])).json()["error"]["message"]
    assert 'such as {"title": "…"}' in told


async def test_calling_off_nothing_changes_nothing(mesh: Operated) -> None:
    assert (await mesh.http.post("/shards/cancel", json={})).json() == {"called_off": 0}
    assert (await mesh.http.get("/shards", params={"replicas": "false"})).json()["version"] == 1


async def test_without_a_slot_table_it_is_said(common_settings: CommonSettings) -> None:
    async with gateway(common_settings) as running:
        for collection in ("routing", "indexers"):
            await running.backbone.database[collection].delete_many({})
        response = await running.http.get("/shards")
        assert (response.status_code, reason(response)) == (503, "NO_SLOT_TABLE")
        assert (await running.http.post("/shards/rebuild", json={"all": True})).status_code == 400
