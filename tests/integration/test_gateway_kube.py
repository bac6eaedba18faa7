"""A gateway that a cluster tells where its peers are: real gRPC peers, a server that speaks the Kubernetes API."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.common.ids import SLOTS
from services.common.settings import CommonSettings
from tests.support.gateway import Gateway, gateway
from tests.support.gateway_peers import FakeEmbedder, FakeShard, chunk, peer, spread, video_of_slot
from tests.support.kube_api import LEASES, SLICES, KubeApiServer, endpoint_slice, kube_api
from tests.support.waiting import eventually

HALVES = [range(SLOTS // 2), range(SLOTS // 2, SLOTS)]
_NEW = itertools.count()
VIDEOS = [video_of_slot(half) for half in HALVES]


@dataclass
class Pod:
    """A peer that can be killed."""

    fake: FakeShard | FakeEmbedder
    target: str
    stack: AsyncExitStack

    async def kill(self) -> None:
        """Ends it without a word to anybody."""
        await self.stack.aclose()


@dataclass
class Cluster:
    """The Kubernetes API with the pods of its Services."""

    api: KubeApiServer
    pods: dict[str, Pod] = field(default_factory=dict)

    async def start(self, name: str, fake: FakeShard | FakeEmbedder, *, told: bool = True) -> Pod:
        """Starts a pod, `indexer-0` and the like, and has the cluster tell of it."""
        stack = AsyncExitStack()
        server = await stack.enter_async_context(peer(fake))
        self.pods[name] = Pod(fake, server.target, stack)
        if told:
            self.tell(name)
        return self.pods[name]

    def tell(self, name: str, *, leaving: bool = False) -> None:
        """Puts a pod into its Service's endpoints. One slice each: here pods differ by port."""
        target = self.pods[name].target
        service = name.rpartition("-")[0]
        self.api.put(SLICES, endpoint_slice(service, target, name=name, leaving=[target] if leaving else []))

    def forget(self, name: str) -> None:
        """Takes it out."""
        self.api.delete(SLICES, name)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with kube_api() as api:
        made = Cluster(api)
        for shard in range(2):
            await made.start(f"indexer-{shard}", index_shard(shard))
        await made.start("embedder-a", FakeEmbedder())
        yield made
        for pod in made.pods.values():
            await pod.stack.aclose()


@pytest.fixture
async def running(cluster: Cluster, common_settings: CommonSettings) -> AsyncIterator[Gateway]:
    given: dict[str, Any] = {
        "kubernetes_namespace": "earmark",
        "kubernetes_api": cluster.api.url,
        "lease_seconds": 3,
        # Nobody is there: what is found is found through the cluster.
        "embedder_target": "127.0.0.1:9",
    }
    async with gateway(common_settings, **given) as started:
        # The helper's own shards have announced themselves, and are no pods.
        yield started


def index_shard(shard: int, replica: int = 0) -> FakeShard:
    fake = FakeShard(shard, replica=replica)
    both = [FakeShard(0), FakeShard(1)]
    spread(both, *(chunk(video, 0, f"bread of {number}") for number, video in enumerate(VIDEOS)))
    fake.chunks = both[shard].chunks
    return fake


async def found(gateway: Gateway, **params: Any) -> tuple[list[str], int, bool]:
    """Videos found, shards that answered, and whether the semantic leg ran."""
    response = await gateway.http.get("/search", params={"q": "bread", **params})
    assert response.status_code == 200, response.text
    body = response.json()
    videos = sorted({hit["video_id"] for hit in body["hits"]})
    return videos, body["coverage"]["shards_answered"], "semantic" in body["coverage"]["legs"]


BOTH = sorted(VIDEOS)


async def test_what_the_cluster_tells_is_asked(running: Gateway, cluster: Cluster) -> None:
    async def whole() -> bool:
        return await found(running) == (BOTH, 2, True)

    await eventually(whole)
    states = (await running.http.get("/shards")).json()["shards"]
    targets = {replica["target"] for shard in states for replica in shard["replicas"]}
    assert targets == {cluster.pods["indexer-0"].target, cluster.pods["indexer-1"].target}


async def test_a_new_replica_takes_traffic_and_a_killed_one_loses_it(running: Gateway, cluster: Cluster) -> None:
    await eventually(lambda: asks(running, cluster, "indexer-0"))
    second = await cluster.start("indexer-2", index_shard(0, replica=1))
    await eventually(lambda: asks(running, cluster, "indexer-2"))

    await cluster.pods["indexer-0"].kill()
    # Nobody has told the gateway. Not one search may be without the shard.
    for _ in range(30):
        assert (await found(running, q=f"bread {next(_NEW)}"))[:2] == (BOTH, 2)
    assert isinstance(second.fake, FakeShard)

    async def out() -> bool:
        states = (await running.http.get("/readyz")).json()["checks"]
        return bool(states["shard 0"]["detail"] == "1 of 2 replicas")

    await eventually(out)
    cluster.forget("indexer-0")

    async def forgotten() -> bool:
        states = (await running.http.get("/readyz")).json()["checks"]
        return bool(states["shard 0"]["detail"] == "1 of 1 replicas")

    await eventually(forgotten)


async def test_one_that_leaves_is_spared_while_it_still_answers(running: Gateway, cluster: Cluster) -> None:
    await cluster.start("indexer-2", index_shard(0, replica=1))
    await eventually(lambda: asks(running, cluster, "indexer-2"))
    await eventually(lambda: asks(running, cluster, "indexer-0"))
    cluster.tell("indexer-0", leaving=True)

    async def spared() -> bool:
        before = calls(cluster, "indexer-0")
        for _ in range(10):
            await found(running, q=f"bread {next(_NEW)}")
        return calls(cluster, "indexer-0") == before

    await eventually(spared)


async def test_searches_go_on_while_the_api_is_away(running: Gateway, cluster: Cluster) -> None:
    async def whole() -> bool:
        return await found(running) == (BOTH, 2, True)

    await eventually(whole)
    cluster.api.down = True
    cluster.api.cut()
    asked = len(cluster.api.requests)
    await eventually(lambda: len(cluster.api.requests) > asked + 2)
    assert await found(running) == (BOTH, 2, True)
    # Back, with another world.
    await cluster.pods["indexer-1"].kill()
    await cluster.start("indexer-1", index_shard(1))
    cluster.api.down = False
    await eventually(whole)


async def test_queries_are_spread_over_embedders_and_a_killed_one_is_not_missed(
    running: Gateway, cluster: Cluster
) -> None:
    await cluster.start("embedder-b", FakeEmbedder())
    await eventually(lambda: embeds(running, cluster, "embedder-b"))
    await eventually(lambda: embeds(running, cluster, "embedder-a"))
    await cluster.pods["embedder-a"].kill()
    for _ in range(20):
        assert (await found(running, q=f"bread {next(_NEW)}"))[2], "a search without its semantic leg"


async def test_the_gateway_leads_and_gives_the_lease_back(cluster: Cluster, common_settings: CommonSettings) -> None:
    given = {"kubernetes_namespace": "earmark", "kubernetes_api": cluster.api.url}
    async with gateway(common_settings, **given):
        await eventually(lambda: cluster.api.all(LEASES))
        assert cluster.api.get(LEASES, "earmark-gateway")["spec"]["holderIdentity"]
    assert cluster.api.get(LEASES, "earmark-gateway")["spec"]["holderIdentity"] == ""


def calls(cluster: Cluster, name: str) -> int:
    return cluster.pods[name].fake.behaviour.calls


async def asks(gateway: Gateway, cluster: Cluster, name: str) -> bool:
    """Whether some search goes to a pod. Each goes to one replica of a shard by its words, and is new to the caches."""
    before = calls(cluster, name)
    await asyncio.gather(*(found(gateway, q=f"bread {next(_NEW)}") for _ in range(8)))
    return calls(cluster, name) > before


embeds = asks
