"""One leader among several, through leases of a server that speaks the Kubernetes API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from services.common.tasks import cancel
from services.gateway.kube.api import KubeApi
from services.gateway.kube.lease import LeaseLeadership, Timing
from tests.support.kube_api import LEASES, KubeApiServer, kube_api
from tests.support.waiting import eventually

QUICK = Timing(duration_seconds=1, renew_deadline_seconds=0.6, retry_seconds=0.05)
NAME = "earmark-gateway"


class Elector:
    """A process that would lead: its work notes who works."""

    def __init__(self, name: str, api: KubeApi, working: set[str], *, timing: Timing = QUICK) -> None:
        self.name = name
        self.working = working
        self.most = 0
        self.ended = asyncio.Event()
        self.leadership = LeaseLeadership(api, name=NAME, identity=name, timing=timing)
        self.task = asyncio.create_task(self.leadership.lead(self.work))

    async def work(self) -> None:
        self.working.add(self.name)
        self.most = max(self.most, len(self.working))
        try:
            while True:
                await asyncio.sleep(0.01)
                self.most = max(self.most, len(self.working))
        finally:
            self.working.discard(self.name)
            self.ended.set()


@pytest.fixture
async def server() -> AsyncIterator[KubeApiServer]:
    async with kube_api() as running:
        yield running


class World:
    def __init__(self, server: KubeApiServer, stack: AsyncExitStack) -> None:
        self.server = server
        self.stack = stack
        self.working: set[str] = set()
        self.electors: list[Elector] = []

    def start(self, name: str, *, timing: Timing = QUICK, url: str = "") -> Elector:
        api = KubeApi.connect(url=url or self.server.url, namespace="earmark", answer_seconds=0.3)
        self.stack.push_async_callback(api.close)
        elector = Elector(name, api, self.working, timing=timing)
        self.stack.push_async_callback(cancel, [elector.task])
        self.electors.append(elector)
        return elector

    @property
    def holder(self) -> str:
        return str(self.server.get(LEASES, NAME)["spec"]["holderIdentity"])


@pytest.fixture
async def world(server: KubeApiServer) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = World(server, stack)
        yield made
        assert all(elector.most <= 1 for elector in made.electors), "two worked at once"


async def test_one_of_two_leads_and_keeps_the_lease(world: World) -> None:
    world.start("a")
    world.start("b")
    await eventually(lambda: world.working)
    (first,) = world.working
    renewed = world.server.get(LEASES, NAME)["spec"]["renewTime"]
    await eventually(lambda: world.server.get(LEASES, NAME)["spec"]["renewTime"] > renewed)
    assert world.working == {first} == {world.holder}
    assert world.server.get(LEASES, NAME)["spec"]["leaseTransitions"] == 1


async def test_a_leader_that_ends_hands_over_at_once(world: World) -> None:
    first = world.start("a", timing=Timing(60, 40, 0.05))
    await eventually(lambda: world.working == {"a"})
    world.start("b", timing=Timing(60, 40, 0.05))
    await cancel([first.task])
    # The lease was of a minute: it was given back.
    await eventually(lambda: world.working == {"b"})
    assert world.server.get(LEASES, NAME)["spec"]["leaseTransitions"] == 2


async def test_a_leader_that_is_killed_is_followed_when_its_lease_has_run_out(world: World) -> None:
    first = world.start("a")
    await eventually(lambda: world.working == {"a"})
    # As a process that is killed: it neither renews nor gives back.
    first.leadership._release = first.leadership._renew = asyncio.Event().wait  # type: ignore[method-assign,assignment]
    world.start("b")
    first.task.cancel()
    await first.ended.wait()
    await eventually(lambda: world.working == {"b"})
    assert world.holder == "b"


async def test_without_the_api_the_leader_stops_before_another_could_start(world: World) -> None:
    first = world.start("a")
    await eventually(lambda: world.working == {"a"})
    world.server.down = True
    await first.ended.wait()
    assert not first.leadership.leads
    assert world.holder == "a", "nobody could have taken it yet"
    world.server.down = False
    await eventually(lambda: world.working)


async def test_a_slow_api_costs_the_lease_no_later_than_the_deadline(world: World) -> None:
    first = world.start("a")
    await eventually(lambda: world.working == {"a"})
    world.server.delay_seconds = 30
    await first.ended.wait()
    world.server.delay_seconds = 0
    await eventually(lambda: world.working)


async def test_who_finds_the_lease_taken_stops_at_once(world: World) -> None:
    first = world.start("a", timing=Timing(60, 40, 0.05))
    await eventually(lambda: world.working == {"a"})
    lease = world.server.get(LEASES, NAME)
    lease["spec"].update(holderIdentity="somebody", leaseDurationSeconds=60)
    world.server.put(LEASES, lease)
    await first.ended.wait()
    assert world.holder == "somebody"


async def test_a_conflict_is_no_loss(world: World) -> None:
    world.start("a")
    await eventually(lambda: world.working == {"a"})
    for _ in range(20):  # somebody annotates it all the time
        lease = world.server.get(LEASES, NAME)
        lease["metadata"]["annotations"] = {"seen": str(world.server.version)}
        world.server.put(LEASES, lease)
        await asyncio.sleep(0)
    renewed = world.server.get(LEASES, NAME)["spec"]["renewTime"]
    await eventually(lambda: world.server.get(LEASES, NAME)["spec"]["renewTime"] > renewed)
    assert world.working == {"a"}
    assert world.server.get(LEASES, NAME)["metadata"]["annotations"], "and what others wrote stays"


@pytest.mark.parametrize("written", ["1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"])
async def test_nobodys_clock_has_to_be_right(world: World, written: str) -> None:
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": written, "acquireTime": written}
    world.server.put(LEASES, {"metadata": {"name": NAME}, "spec": {**spec, "leaseTransitions": 7}})
    looked = len(world.server.requests)
    world.start("a")
    await eventually(lambda: len(world.server.requests) > looked + 2)
    assert not world.working, "it has only just seen the lease, whatever is written in it"
    await eventually(lambda: world.working == {"a"})
    assert world.server.get(LEASES, NAME)["spec"]["leaseTransitions"] == 8


async def test_many_that_try_at_once_make_one_leader(world: World) -> None:
    for number in range(8):
        world.start(f"g{number}")
    await eventually(lambda: world.working)
    for _ in range(3):
        (leader,) = world.working
        await cancel([next(one for one in world.electors if one.name == leader).task])
        await eventually(lambda: world.working)


async def test_what_the_work_raises_is_raised_and_the_lease_given_back(server: KubeApiServer) -> None:
    async def work() -> None:
        raise ValueError("broken")

    api = KubeApi.connect(url=server.url, namespace="earmark")
    try:
        with pytest.raises(ValueError, match="broken"):
            await LeaseLeadership(api, name=NAME, identity="a", timing=QUICK).lead(work)
        assert server.get(LEASES, NAME)["spec"]["holderIdentity"] == ""
    finally:
        await api.close()


def test_a_deadline_beyond_the_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="renew"):
        Timing(duration_seconds=10, renew_deadline_seconds=10, retry_seconds=2)
    assert Timing.of(15) == Timing(15, 10, 2)
