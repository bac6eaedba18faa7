"""Slots on the move between real indexers while videos come in and are searched, and processes are killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.common.ids import chunk_id, new_video_id
from services.common.settings import CommonSettings
from services.common.videos.model import ChunkRecord, VideoStatus
from tests.support.gateway_peers import MODEL, FakeEmbedder, hash_vector, peer
from tests.support.mesh import Backbone
from tests.support.ports import free_port
from tests.support.waiting import eventually

FIRST, MOST = 25, 90
WORDS = ["bread", "tide", "orbit", "honey", "violin", "granite", "pepper", "lantern"]


@dataclass
class Process:
    """A service as a process, which can be killed and started again."""

    module: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


@dataclass
class Mesh:
    """Indexers and gateways as processes, and what the searches must find."""

    backbone: Backbone
    indexers: list[Process]
    gateways: dict[str, Process]
    http: dict[str, httpx.AsyncClient]
    known: set[str] = field(default_factory=set)
    """Videos that said `ready`, so must be found."""
    added: set[str] = field(default_factory=set)
    searches: Counter[str] = field(default_factory=Counter)
    over: bool = False

    async def add(self) -> None:
        """A video of two chunks, as the embedder leaves it; known once the index has it."""
        videos, video_id = self.backbone.videos, new_video_id()
        self.added.add(video_id)
        word = WORDS[len(self.added) % len(WORDS)]
        await videos.create(video_id, title=f"About {word}", url="https://example.org/talk.mp4")
        await videos.begin_processing(video_id)
        await videos.add_slice(video_id, "00000", start_time=0.0, end_time=60.0)
        await videos.slice_transcribed(video_id, "00000", language="en", asr_model="test")
        texts = [f"everybody hears of {word}", f"and again everybody of {word} number {len(self.added)}"]
        chunks = [
            ChunkRecord(
                chunk_id=chunk_id(video_id, "00000", number),
                slice_id="00000",
                text=text,
                start_time=30.0 * number,
                end_time=30.0 * number + 30,
                embedding=hash_vector(text),
                sentence_marks=[(0, 30.0 * number)],
                language="en",
            )
            for number, text in enumerate(texts)
        ]
        assert await videos.slice_embedded(video_id, "00000", chunks=chunks, embedding_model=MODEL)
        await videos.finish_slicing(video_id, duration=60.0)

        async def ready() -> bool:
            return (await videos.get(video_id)).status is VideoStatus.READY

        await eventually(ready, 60, message=f"{video_id} in the index")
        self.known.add(video_id)

    async def ingest(self) -> None:
        """Adds videos until it is over, or as many as one page of results shows."""
        while not self.over and len(self.added) < MOST:
            await self.add()
            await asyncio.sleep(0.3)

    async def search(self) -> None:
        """Searches until it is over, and looks at every answer."""
        modes = ("keyword", "semantic", "hybrid")
        while not self.over:
            for name, http in self.http.items():
                mode = modes[self.searches.total() % len(modes)]
                await self.check(http, name, mode)
            await asyncio.sleep(0.02)

    async def check(self, http: httpx.AsyncClient, name: str, mode: str) -> dict[str, Any] | None:
        """One search: nothing twice and nothing unknown ever; nothing missing, unless the answer says so."""
        must = set(self.known)
        try:
            response = await http.get("/search", params={"q": "everybody hears", "limit": 100, "mode": mode})
        except httpx.TransportError:
            self.searches["gateway away"] += 1
            return None
        if response.status_code != 200:
            self.searches[f"refused {response.status_code}"] += 1
            return None
        answer: dict[str, Any] = response.json()
        found = [hit["video_id"] for hit in answer["hits"]]
        chunks = [one["chunk_id"] for hit in answer["hits"] for one in (hit, *hit["more"])]
        assert len(found) == len(set(found)), f"{name}, {mode}: a video twice"
        assert len(chunks) == len(set(chunks)), f"{name}, {mode}: a chunk twice"
        assert set(found) <= self.added, f"{name}, {mode}: unknown videos"
        complete = answer["coverage"]["complete"]
        self.searches["complete" if complete else "partial"] += 1
        if complete:
            assert must <= set(found), f"{name}, {mode}: {len(must - set(found))} of {len(must)} are missing: {answer}"
        return answer

    async def index(self) -> dict[str, Any]:
        """How the index is, by whichever gateway answers."""
        for http in self.http.values():
            with contextlib.suppress(httpx.TransportError):
                response = await http.get("/shards")
                if response.status_code == 200:
                    answer: dict[str, Any] = response.json()
                    return answer
        return {}

    async def settled(self, seconds: float = 200) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            index = await self.index()
            return index if index and index["goal"] is None and not index["moves"] else None

        found = await eventually(look, seconds, message="every slot in its place")
        assert found is not None
        return found

    async def some_moved(self) -> None:
        """Waits until some slots have moved and others have not."""

        async def look() -> bool:
            index = await self.index()
            goal = index.get("goal")
            assert index.get("goal") is not None or not index, f"too late: {index['shards_total']} shards"
            return bool(goal and 0 < goal["slots_left"] < goal["slots_total"])

        await eventually(look, 60, retry_on=(), message="some slots moved")


def common_environment(common: CommonSettings) -> dict[str, str]:
    return {
        "EARMARK_NATS_URL": common.nats_url,
        "EARMARK_MONGO_URL": common.mongo_url.get_secret_value(),
        "EARMARK_MONGO_DATABASE": common.mongo_database,
        "EARMARK_OBJECT_STORE_URL": common.object_store_url,
        "EARMARK_DRAIN_SECONDS": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


@contextmanager
def processes(all_of_them: Sequence[Process]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in all_of_them:
            process.end()


@asynccontextmanager
async def running(backbone: Backbone, folder: Path) -> AsyncIterator[Mesh]:
    common = common_environment(backbone.settings)
    async with AsyncExitStack() as stack:
        embedder = await stack.enter_async_context(peer(FakeEmbedder()))
        indexers = [
            Process(
                "services.indexer",
                {
                    **common,
                    "EARMARK_SHARDS": "2",
                    "EARMARK_INDEXER_SHARD": str(shard),
                    "EARMARK_INDEXER_REPLICA": "0",
                    "EARMARK_INDEX_DIR": str(folder / f"s{shard}"),
                    "EARMARK_GRPC_PORT": str(free_port()),
                    "EARMARK_METRICS_PORT": "0",
                    "EARMARK_SLOTS_EVERY_SECONDS": "0.1",
                    "EARMARK_SNAPSHOT_SECONDS": "2",
                },
                folder / f"indexer-{shard}.log",
            )
            for shard in range(3)
        ]
        gateways, http = {}, {}
        for name in ("one", "two"):
            port = free_port()
            own = {
                **common,
                "EARMARK_HTTP_PORT": str(port),
                "EARMARK_GRPC_PORT": "0",
                "EARMARK_EMBEDDER_TARGET": embedder.target,
                "EARMARK_ROUTING_EVERY_SECONDS": "0.2",
                "EARMARK_HEALTH_EVERY_SECONDS": "0.2",
                "EARMARK_SEARCH_DEADLINE_SECONDS": "2",
                "EARMARK_SEARCH_DEPTH": "1000",
                "EARMARK_REBALANCE_GRACE_SECONDS": "0",
                "EARMARK_REBALANCE_EVERY_SECONDS": "0.1",
                "EARMARK_REBALANCE_IN_FLIGHT": "16",
            }
            gateways[name] = Process("services.gateway", own, folder / f"gateway-{name}.log")
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)
            http[name] = await stack.enter_async_context(client)
        stack.enter_context(processes([*indexers, *gateways.values()]))
        for process in (*indexers, *gateways.values()):
            process.start()
        mesh = Mesh(backbone, indexers, gateways, http)

        async def serves() -> bool:
            index = await mesh.index()
            replicas = [one for shard in index.get("shards", []) for one in shard["replicas"]]
            return len(replicas) == 3 and all(one["ready"] for one in replicas)

        await eventually(serves, 60, message="three indexers")
        yield mesh


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ingest_and_search_go_on_while_slots_move_and_processes_are_killed(
    backbone: Backbone, tmp_path: Path
) -> None:
    async with running(backbone, tmp_path) as mesh:
        for _ in range(FIRST):
            await mesh.add()

        async def all_found() -> bool:
            answer = await mesh.check(mesh.http["one"], "one", "hybrid")
            return answer is not None and answer["coverage"]["complete"] and len(answer["hits"]) == FIRST

        await eventually(all_found, 30, retry_on=(), message="all videos found")

        async def operate() -> None:
            await mesh.http["one"].post("/shards/scale", json={"shards": 3})
            await mesh.some_moved()
            mesh.indexers[0].kill()  # a source, in the middle
            mesh.indexers[0].start()
            await mesh.some_moved()
            mesh.gateways["one"].kill()  # a driver
            index = await mesh.settled()
            assert index["shards_total"] == 3
            assert all(len(shard["slots"]) in range(70, 100) for shard in index["shards"])
            mesh.gateways["one"].start()

            await mesh.http["two"].post("/shards/scale", json={"shards": 2})
            await mesh.some_moved()
            mesh.indexers[1].kill()  # a target
            for gateway in mesh.gateways.values():
                gateway.kill()  # and every driver there is
            mesh.indexers[1].start()
            for gateway in mesh.gateways.values():
                gateway.start()
            index = await mesh.settled()
            assert index["shards_total"] == 2

        ingesting = asyncio.create_task(mesh.ingest())
        searching = asyncio.create_task(mesh.search())
        operating = asyncio.create_task(operate())
        operating.add_done_callback(lambda _: setattr(mesh, "over", True))
        try:
            async with asyncio.timeout(500):
                await asyncio.gather(searching, operating, ingesting)
        finally:
            mesh.over = True
            operating.cancel()

        async def nothing_is_left_at_the_third() -> bool:
            index = await mesh.index()
            third = [shard["replicas"][0] for shard in index["shards"] if shard["shard"] == 2]
            return all((one["slots_held"], one["chunk_count"]) == (0, 0) for one in third)

        await eventually(nothing_is_left_at_the_third, 20)
        answer = await eventually(lambda: mesh.check(mesh.http["two"], "two", "hybrid"), 20)
        assert answer is not None
        assert answer["coverage"]["complete"]
        assert {hit["video_id"] for hit in answer["hits"]} == mesh.known == mesh.added
        held = (await mesh.http["two"].get("/shards/digests")).json()["replicas"]
        assert sum(slot["chunk_count"] for one in held for slot in one["slots"]) == 2 * len(mesh.added)
        assert mesh.searches["complete"] > 50
        assert len(mesh.added) > FIRST, "videos came in meanwhile"
