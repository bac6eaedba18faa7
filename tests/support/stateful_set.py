"""A StatefulSet of indexers that runs: real gRPC servers started and ended as the Kubernetes API says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.rpc import make_server
from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from services.indexer.places import Place, parse_places, place_of
from tests.support.kube_api import CONFIG_MAPS, PODS, SLICES, STATEFUL_SETS, KubeApiServer, endpoint_slice
from tests.support.slot_peers import SlotReplica


@dataclass
class RunningPod:
    """An indexer: what it serves, and its server."""

    replica: SlotReplica
    target: str
    uid: str
    stack: AsyncExitStack


@dataclass
class IndexerSet:
    """The controller, the kubelet and the endpoints of the indexers in one.

    Attributes:
        api: Where all of it is told.
        tables: The slot table, which the indexers obey.
        documents: What there is to hold, by slot.
        shards: EARMARK_SHARDS.
        fewest: For each shard, the fewest replicas that were there while it had slots.
    """

    api: KubeApiServer
    tables: SlotTables
    documents: dict[int, int]
    shards: int
    pods: dict[int, RunningPod] = field(default_factory=dict)
    fewest: dict[int, int] = field(default_factory=dict)
    over: bool = False
    _started: int = 0

    def declare(self, pods: int) -> None:
        """Makes the StatefulSet."""
        reference = {"configMapKeyRef": {"name": "indexer-places", "key": "places", "optional": True}}
        env = [
            {"name": "EARMARK_SHARDS", "value": str(self.shards)},
            {"name": "EARMARK_INDEXER_PLACES", "valueFrom": reference},
        ]
        labels = {"app.kubernetes.io/part-of": "earmark", "app.kubernetes.io/name": "indexer"}
        template = {"spec": {"containers": [{"name": "indexer", "image": "earmark-indexer:0.1.0", "env": env}]}}
        body = {"metadata": {"name": "indexer", "labels": labels}, "spec": {"replicas": pods, "template": template}}
        self.api.put(STATEFUL_SETS, body)

    async def run(self) -> None:
        """Makes true what is declared, until it is over; not cancelled, which the database's driver may lose."""
        while not self.over:
            await self.reconcile()
            await asyncio.sleep(0.02)

    async def reconcile(self) -> None:
        """Does so once."""
        if not self.api.all(STATEFUL_SETS):
            return  # taken away; the pods stay, as with --cascade=orphan
        declared = self.api.get(STATEFUL_SETS, "indexer")
        wanted = declared["spec"]["replicas"]
        told = {pod["metadata"]["name"] for pod in self.api.all(PODS)}
        for ordinal, pod in sorted(self.pods.items()):
            if ordinal >= wanted or f"indexer-{ordinal}" not in told:
                await self._end(ordinal, pod)
        for ordinal in range(wanted):
            if ordinal not in self.pods:
                await self._start(ordinal)
        await self._obey()
        count = len(self.pods)
        status = {"replicas": count, "readyReplicas": count, "currentRevision": "1", "updateRevision": "1"}
        if declared.get("status") != status:
            self.api.put(STATEFUL_SETS, {**self.api.get(STATEFUL_SETS, "indexer"), "status": status})

    def places(self) -> list[tuple[int, int]]:
        """Which replica each pod is, by number."""
        return [(pod.replica.shard, pod.replica.replica) for _, pod in sorted(self.pods.items())]

    async def _start(self, ordinal: int) -> None:
        name = f"indexer-{ordinal}"
        place = self._place(ordinal)
        replica = SlotReplica(place.shard, place.replica, self.documents)
        server = make_server(CommonSettings())
        pb_grpc.add_ShardServiceServicer_to_server(replica, server)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        stack = AsyncExitStack()
        stack.push_async_callback(server.stop, None)
        self._started += 1
        uid = f"uid-{self._started}"
        self.pods[ordinal] = RunningPod(replica, target, uid, stack)
        self.api.put(
            PODS,
            {
                "metadata": {"name": name, "uid": uid, "labels": {"app.kubernetes.io/name": "indexer"}},
                "spec": {"nodeName": f"node-{ordinal % 3}"},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            },
        )
        told = endpoint_slice("indexer", target, name=name)
        told["endpoints"][0]["targetRef"]["uid"] = uid
        self.api.put(SLICES, told)

    async def _end(self, ordinal: int, pod: RunningPod) -> None:
        name = f"indexer-{ordinal}"
        del self.pods[ordinal]
        self.api.delete(SLICES, name)
        if any(one["metadata"]["name"] == name for one in self.api.all(PODS)):
            self.api.delete(PODS, name)
        await pod.stack.aclose()

    def _place(self, ordinal: int) -> Place:
        text = next((one["data"]["places"] for one in self.api.all(CONFIG_MAPS)), "")
        return place_of(ordinal, parse_places(text), self.shards)

    async def _obey(self) -> None:
        table = await self.tables.load()
        if table is None:
            return
        for pod in self.pods.values():
            pod.replica.obey(table)
        for shard in table.serving:
            count = sum(pod.replica.shard == shard for pod in self.pods.values())
            self.fewest[shard] = min(self.fewest.get(shard, count), count)


@asynccontextmanager
async def indexer_set(
    api: KubeApiServer, tables: SlotTables, *, shards: int, pods: int, documents: dict[int, int]
) -> AsyncIterator[IndexerSet]:
    """Runs so many indexers."""
    made = IndexerSet(api, tables, documents, shards)
    made.declare(pods)
    await made.reconcile()
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made.over = True
        try:
            await task
        finally:
            for pod in made.pods.values():
                await pod.stack.aclose()
