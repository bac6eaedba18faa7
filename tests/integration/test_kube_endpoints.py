"""Where pods are, from a server that speaks the Kubernetes API: cut watches, forgotten versions, slow, stale ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from services.common.errors import FailedPrecondition
from services.common.tasks import cancel
from services.gateway.kube.api import ENDPOINT_SLICES, KubeApi, KubeError
from services.gateway.kube.endpoints import EndpointSliceAddresses
from tests.support.kube_api import SLICES, KubeApiServer, endpoint_slice, kube_api
from tests.support.waiting import eventually

Follow = Callable[..., EndpointSliceAddresses]


@pytest.fixture
async def server() -> AsyncIterator[KubeApiServer]:
    async with kube_api() as running:
        yield running


@pytest.fixture
async def follow(server: KubeApiServer) -> AsyncIterator[Follow]:
    """Starts to follow the Service of the indexers."""
    async with AsyncExitStack() as stack:

        def start(**given: float) -> EndpointSliceAddresses:
            seconds = given.pop("answer_seconds", 5.0)
            api = KubeApi.connect(url=server.url, namespace="earmark", answer_seconds=seconds)
            stack.push_async_callback(api.close)
            addresses = EndpointSliceAddresses(api, service="indexer", **{"longest_pause_seconds": 0.2, **given})
            stack.push_async_callback(cancel, [asyncio.create_task(addresses.run())])
            return addresses

        yield start


def targets(addresses: EndpointSliceAddresses) -> list[str]:
    return [address.target for address in addresses.current]


async def test_pods_that_come_and_go_are_seen_by_the_watch(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:50053"))
    server.put(SLICES, endpoint_slice("embedder", "10.9.9.9:50052"))
    addresses = follow()
    await eventually(lambda: targets(addresses) == ["10.0.0.1:50053"])
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:50053", "10.0.0.2:50053"))
    await eventually(lambda: targets(addresses) == ["10.0.0.1:50053", "10.0.0.2:50053"])
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.7:50053", name="indexer-2"))
    await eventually(lambda: "10.0.0.7:50053" in targets(addresses))
    server.delete(SLICES, "indexer-1")
    await eventually(lambda: targets(addresses) == ["10.0.0.7:50053"])
    assert len(server.asked(SLICES, watch=False)) == 1, "one list, the rest is the watch"


async def test_one_who_listens_hears_of_changes_only(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    addresses = follow()
    heard: list[list[str]] = []
    addresses.listen(lambda: heard.append(targets(addresses)))
    await eventually(lambda: heard == [["10.0.0.1:1"]])
    touched = endpoint_slice("indexer", "10.0.0.1:1")
    touched["metadata"]["annotations"] = {"touched": "yes"}
    server.put(SLICES, touched)
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1", leaving=["10.0.0.1:1"]))
    await eventually(lambda: len(heard) == 2)
    assert addresses.current[0].leaving


async def test_a_watch_that_is_cut_goes_on_where_it_was(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    addresses = follow()
    await eventually(lambda: server.asked(SLICES, watch=True))
    for number in range(2, 6):
        server.cut()
        server.put(SLICES, endpoint_slice("indexer", f"10.0.0.{number}:1"))
        await eventually(lambda number=number: targets(addresses) == [f"10.0.0.{number}:1"])
    assert len(server.asked(SLICES, watch=False)) == 1, "nothing was missed, so nothing had to be listed again"


@pytest.mark.parametrize("as_status", [True, False])
async def test_a_version_that_is_forgotten_is_listed_anew(
    server: KubeApiServer, follow: Follow, as_status: bool
) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    server.bookmark_seconds = 30
    addresses = follow()
    await eventually(lambda: server.asked(SLICES, watch=True))
    server.gone_as_status = as_status
    server.cut()
    # Both while nobody watches; the second is nowhere in the history any more.
    server.delete(SLICES, "indexer-1")
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.2:1", name="indexer-2"))
    server.compact()
    await eventually(lambda: targets(addresses) == ["10.0.0.2:1"])


async def test_bookmarks_keep_the_version_young(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    addresses = follow()
    await eventually(lambda: server.asked(SLICES, watch=True))
    server.put(SLICES, endpoint_slice("embedder", "10.9.9.9:1"))  # nothing of this watch, but a version
    newest = server.version

    async def resumed() -> bool:
        server.cut()
        return any(int(one.query["resourceVersion"]) >= newest for one in server.asked(SLICES, watch=True))

    await eventually(resumed)
    server.compact()
    server.cut()
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.2:1"))
    await eventually(lambda: targets(addresses) == ["10.0.0.2:1"])
    assert len(server.asked(SLICES, watch=False)) == 1, "the bookmark was at what is still kept"


async def test_while_the_api_is_away_the_last_addresses_stay(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    addresses = follow(resync_seconds=0.2)
    await eventually(lambda: targets(addresses) == ["10.0.0.1:1"])
    server.down = True
    server.cut()
    asked = len(server.requests)
    await eventually(lambda: len(server.requests) >= asked + 4)
    assert targets(addresses) == ["10.0.0.1:1"]
    server.down = False
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.2:1"))
    await eventually(lambda: targets(addresses) == ["10.0.0.2:1"])


async def test_a_slow_api_is_given_up_and_asked_again(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    server.delay_seconds = 30
    addresses = follow(answer_seconds=0.1)
    await eventually(lambda: len(server.requests) >= 3)
    assert not addresses.synced
    server.delay_seconds = 0
    await eventually(lambda: targets(addresses) == ["10.0.0.1:1"])


async def test_a_cache_that_is_behind_does_not_bring_back_what_has_gone(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    old = server.version
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.2:1"))
    addresses = follow(resync_seconds=0.1)
    seen: set[str] = set()
    addresses.listen(lambda: seen.update(targets(addresses)))
    await eventually(lambda: targets(addresses) == ["10.0.0.2:1"])
    server.behind = old
    # Asked for what is not older than was seen, it says that it is not that far; the newest list is the truth.
    await eventually(
        lambda: len([one for one in server.asked(SLICES, watch=False) if "resourceVersion" in one.query]) > 2
    )
    assert seen == {"10.0.0.2:1"}


async def test_a_cluster_restored_from_a_backup_is_followed(server: KubeApiServer, follow: Follow) -> None:
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    backup = server.version
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.2:1"))
    for _ in range(20):
        server.put(SLICES, endpoint_slice("embedder", "10.9.9.9:1"))
    addresses = follow(resync_seconds=0.2)
    await eventually(lambda: targets(addresses) == ["10.0.0.2:1"])
    server.restore(backup)
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.3:1"))
    server.cut()
    await eventually(lambda: targets(addresses) == ["10.0.0.3:1"])


async def test_what_is_assumed_holds_until_the_cluster_has_said_something(
    server: KubeApiServer, follow: Follow
) -> None:
    server.down = True
    addresses = follow()
    addresses.assume(["indexer-0.indexer:50053"])
    await eventually(lambda: len(server.requests) >= 2)
    assert targets(addresses) == ["indexer-0.indexer:50053"]
    server.put(SLICES, endpoint_slice("indexer", "10.0.0.1:1"))
    server.down = False
    await eventually(lambda: targets(addresses) == ["10.0.0.1:1"])


async def test_an_event_of_any_length_is_read(server: KubeApiServer, follow: Follow) -> None:
    addresses = follow()
    await eventually(lambda: server.asked(SLICES, watch=True))
    many = endpoint_slice("indexer", *(f"10.0.{number // 250}.{number % 250}:1" for number in range(1000)))
    many["metadata"]["annotations"] = {"long": "x" * 2**21}
    server.put(SLICES, many)
    await eventually(lambda: len(addresses.current) == 1000)


def test_outside_of_a_pod_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(FailedPrecondition, match=r"EARMARK_KUBERNETES_NAMESPACE.*serviceAccountName"):
        KubeApi.connect(url="", namespace="earmark")


async def test_a_refusal_is_told_with_what_the_api_says(server: KubeApiServer) -> None:
    server.refuse = {"GET": 403}
    api = KubeApi.connect(url=server.url, namespace="earmark")
    try:
        with pytest.raises(KubeError, match="403: refused by the test"):
            await api.list(ENDPOINT_SLICES, labels="")
    finally:
        await api.close()
