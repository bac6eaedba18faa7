"""`earmark k8s` against a server that speaks the Kubernetes API, pods that run, and a gateway that moves slots."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from earmark.cli.app import app
from services.common.ids import SLOTS
from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from tests.support.gateway import Gateway, gateway
from tests.support.gateway_peers import FakeEmbedder, peer
from tests.support.kube_api import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    PODS,
    SLICES,
    STATEFUL_SETS,
    KubeApiServer,
    endpoint_slice,
    kube_api,
)
from tests.support.mesh import backbone
from tests.support.stateful_set import IndexerSet, indexer_set
from tests.support.waiting import eventually

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test, namespace: earmark}}}}]
clusters: [{{name: test, cluster: {{server: "{url}"}}}}]
users: [{{name: test, user: {{token: none}}}}]
"""


@dataclass
class Operated:
    """A mesh on a cluster, and somebody with a kubeconfig."""

    api: KubeApiServer
    indexers: IndexerSet
    gateway: Gateway
    tables: SlotTables
    kubeconfig: Path

    async def earmark(self, *args: str, code: int = 0) -> str:
        """Runs `earmark k8s …` and gives what it says."""
        return await self._run([*args, "--url", str(self.gateway.http.base_url)], code)

    async def _run(self, args: Sequence[str], code: int) -> str:
        given = ["k8s", *args, "--kubeconfig", str(self.kubeconfig)]
        result = await asyncio.to_thread(CliRunner().invoke, app, given)
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    async def json(self, *args: str) -> Any:
        return json.loads(await self.earmark(*args, "--json"))


@pytest.fixture
async def mesh(common_settings: CommonSettings, tmp_path: Path) -> AsyncIterator[Operated]:
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(backbone(common_settings))
        tables = SlotTables(base.database)
        await tables.load_or_create(2)
        api = await stack.enter_async_context(kube_api())
        embedder = await stack.enter_async_context(peer(FakeEmbedder()))
        api.put(SLICES, endpoint_slice("embedder", embedder.target))
        documents = {slot: 1 + slot % 3 for slot in range(SLOTS)}
        indexers = await stack.enter_async_context(indexer_set(api, tables, shards=2, pods=4, documents=documents))
        fast: dict[str, Any] = {
            "kubernetes_namespace": "earmark",
            "kubernetes_api": api.url,
            "rebalance_every_seconds": 0.05,
            "rebalance_grace_seconds": 0.1,
            "rebalance_in_flight": 64,
            "search_deadline_seconds": 0.3,
        }
        running = await stack.enter_async_context(gateway(common_settings, **fast))
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.format(url=api.url))

        async def all_known() -> bool:
            index = (await running.http.get("/shards")).json()
            return [len(shard["replicas"]) for shard in index["shards"]] == [2, 2]

        await eventually(all_known)
        yield Operated(api, indexers, running, tables, kubeconfig)


async def owners(mesh: Operated) -> set[int]:
    table = await mesh.tables.load()
    assert table is not None
    assert not table.moves
    return set(table.owners)


async def test_status_shows_rollouts_places_and_what_the_indexers_say(mesh: Operated) -> None:
    labels = {"app.kubernetes.io/part-of": "earmark", "app.kubernetes.io/name": "gateway"}
    container = {"name": "gateway", "image": "earmark-gateway:0.2.0"}
    mesh.api.put(
        DEPLOYMENTS,
        {
            "metadata": {"name": "gateway", "labels": labels, "generation": 3},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
            "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "observedGeneration": 3},
        },
    )
    shown = await mesh.earmark("status")
    for line in (
        ["gateway", "Deployment", "2/2", "1/2", "rolling", "out", "0.2.0"],
        ["indexer", "StatefulSet", "4/4", "4/4", "complete", "0.1.0"],
        ["indexer-0", "node-0", "ready", "0", "0", "128", "ready"],
        ["indexer-3", "node-0", "ready", "1", "1", "128", "ready"],
    ):
        assert any(one.split()[: len(line)] == line for one in shown.splitlines()), (line, shown)
    told = await mesh.json("status")
    assert told["places"] == "s0r0,s1r0,s0r1,s1r1"
    assert [one["state"] for one in told["workloads"]] == ["rolling out", "complete"]
    assert told["index"]["shards_total"] == 2
    assert told["scaling"] is None


async def test_status_does_without_the_gateway(mesh: Operated) -> None:
    shown = await mesh._run(["status", "--url", "http://127.0.0.1:9"], 0)
    assert "indexer-3" in shown
    assert "kubectl port-forward" in shown


async def test_more_shards_and_fewer(mesh: Operated) -> None:
    planned = await mesh.json("scale-shards", "3", "--dry-run")
    assert planned["new_pods"] == {"indexer-4": "s2r0", "indexer-5": "s2r1"}
    assert not mesh.api.all(CONFIG_MAPS), "a dry run changes nothing"

    said = await mesh.earmark("scale-shards", "3")
    assert "3 shards on 6 pods" in said
    assert await owners(mesh) == {0, 1, 2}
    assert mesh.indexers.places() == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (2, 1)]

    assert "1 shards on 2 pods" in await mesh.earmark("scale-shards", "1")
    assert await owners(mesh) == {0}
    # Pod 1 was of a shard that went, and has taken over from pod 2.
    assert mesh.indexers.places() == [(0, 0), (0, 2)]
    assert mesh.api.get(CONFIG_MAPS, "indexer-places")["data"]["places"] == "s0r0,s0r2"
    assert min(mesh.indexers.fewest.values()) == 2, "a shard was at no moment with fewer replicas"
    assert "Nothing to do" in await mesh.earmark("scale-shards", "1")


async def test_one_that_was_broken_off_is_shown_and_goes_on(mesh: Operated) -> None:
    mesh.api.refuse = {"PATCH": 500}  # it can write down the places, and make no pods
    assert "refused PATCH" in await mesh.earmark("scale-shards", "3", code=1)
    shown = await mesh.earmark("status")
    assert "A change to 3 shards" in shown
    assert "at the step grow" in shown
    assert "change to 3 shards is under way" in await mesh.earmark("scale-shards", "4", code=1)
    mesh.api.refuse = {}
    await mesh.earmark("scale-shards", "3")
    assert await owners(mesh) == {0, 1, 2}
    assert (await mesh.json("status"))["scaling"] is None


async def test_an_older_manifest_that_was_applied_is_noticed(mesh: Operated) -> None:
    await mesh.earmark("scale-shards", "3")
    mesh.indexers.declare(4)
    assert "kubectl scale statefulset indexer --replicas 6" in await mesh.earmark("status")


async def test_without_rights_or_cluster_it_says_so(mesh: Operated) -> None:
    mesh.api.refuse = {"GET": 403}
    assert "the rights `earmark k8s` needs" in await mesh.earmark("status", code=1)
    mesh.api.refuse = {}
    mesh.api.delete(STATEFUL_SETS, "indexer")
    assert "not found" in await mesh.earmark("scale-shards", "3", code=1)
    mesh.indexers.declare(4)
    mesh.kubeconfig.write_text("{}")
    assert "No cluster is known" in await mesh.earmark("status", code=3)


async def test_a_pod_that_is_away_keeps_it_from_beginning(mesh: Operated) -> None:
    pod = mesh.indexers.pods[3]
    await pod.stack.aclose()

    async def away() -> bool:
        index = (await mesh.gateway.http.get("/shards")).json()
        return not index["shards"][1]["replicas"][1]["answers"]

    await eventually(away)
    assert "nobody says of itself to be s1r1" in await mesh.earmark("scale-shards", "3", code=1)
    assert mesh.api.get(PODS, "indexer-3")
