"""Sources of addresses: lists, names, and what EndpointSlices say."""

import asyncio

import pytest

from services.common.tasks import cancel
from services.gateway.addresses import Address, DnsAddresses, StaticAddresses, join, of_target, split
from services.gateway.kube.endpoints import addresses_of
from tests.support.kube_api import endpoint_slice
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        ("127.0.0.1:50052", ["127.0.0.1:50052"]),
        ("10.0.0.1:1, 10.0.0.2:2", ["10.0.0.1:1", "10.0.0.2:2"]),
        ("[::1]:5", ["[::1]:5"]),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ["10.0.0.1:1", "10.0.0.2:2"]),
        ("ipv6:[::1]:5", ["[::1]:5"]),
    ],
)
def test_addresses_are_taken_as_they_are(target: str, addresses: list[str]) -> None:
    source = of_target(target)
    assert isinstance(source, StaticAddresses)
    assert [address.target for address in source.current] == addresses


def test_names_are_looked_up() -> None:
    assert isinstance(of_target("dns:///embedder:50052"), DnsAddresses)
    assert isinstance(of_target("dns:embedder:50052"), DnsAddresses)
    assert isinstance(of_target("embedder:50052"), DnsAddresses)


@pytest.mark.parametrize(
    "target", ["embedder", "10.0.0.1", "a:1,b:2", ":5", "a:b", "unix:/run/embedder:1", "xds:///embedder:1", "::1:5"]
)
def test_what_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|lists names"):
        of_target(target)


def test_hosts_and_ports_come_apart_and_together() -> None:
    for target in ("a.b:1", "[fe80::1]:2", "10.0.0.1:3"):
        assert join(*split(target)) == target


async def test_a_name_is_looked_up_again_and_keeps_its_addresses_while_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[str] = ["10.0.0.1"]
    asked = 0

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        nonlocal asked
        asked += 1
        if not records:
            raise OSError("no such name")
        return [(2, 1, 6, "", (one, port)) for one in records for _ in range(2)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    source = DnsAddresses("embedder", 5, every_seconds=0.001)
    heard: list[int] = []
    source.listen(lambda: heard.append(len(source.current)))
    task = asyncio.create_task(source.run())
    try:
        await eventually(lambda: source.current == (Address("10.0.0.1:5"),))
        records.append("10.0.0.2")
        await eventually(lambda: source.current == (Address("10.0.0.1:5"), Address("10.0.0.2:5")))
        records.clear()
        before = asked
        await eventually(lambda: asked > before + 3)
        assert len(source.current) == 2
        assert heard == [1, 2]
    finally:
        await cancel([task])


# ── EndpointSlices ───────────────────────────────────────────────────────────────────────────────


def test_a_pod_is_one_address_with_the_port_of_its_slice() -> None:
    found = addresses_of([endpoint_slice("indexer", "10.0.0.1:50053", "10.0.0.2:50053")], port="grpc")
    assert found == [
        Address("10.0.0.1:50053", "uid-10.0.0.1:50053"),
        Address("10.0.0.2:50053", "uid-10.0.0.2:50053"),
    ]


def test_a_pod_of_two_address_families_is_asked_at_one() -> None:
    four, six = endpoint_slice("indexer", "10.0.0.1:5"), endpoint_slice("indexer", "fd00::1:5", family="IPv6")
    for each in (four, six):
        each["endpoints"][0]["targetRef"]["uid"] = "one"
    for slices in ([four, six], [six, four]):
        assert addresses_of(slices, port="grpc") == [Address("10.0.0.1:5", "one")]
    assert addresses_of([six], port="grpc") == [Address("[fd00::1]:5", "one")]


def test_a_pod_in_two_slices_stays_while_one_of_them_says_so() -> None:
    going = endpoint_slice("indexer", "10.0.0.1:5", leaving=["10.0.0.1:5"])
    staying = endpoint_slice("indexer", "10.0.0.1:5", name="indexer-2")
    assert addresses_of([going, staying], port="grpc") == addresses_of([staying], port="grpc")
    assert addresses_of([going], port="grpc")[0].leaving


def test_a_slice_without_the_port_has_nobody() -> None:
    assert addresses_of([endpoint_slice("indexer", "10.0.0.1:5")], port="http") == []
    unnamed = endpoint_slice("indexer", "10.0.0.1:5")
    unnamed["ports"] = [{"port": 7}]
    assert [one.target for one in addresses_of([unnamed], port="grpc")] == ["10.0.0.1:7"]


def test_slices_may_lack_what_is_optional() -> None:
    bare = {
        "metadata": {"name": "x"},
        "addressType": "IPv4",
        "ports": [{"name": "grpc", "port": 5}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": None, "targetRef": None}],
    }
    assert addresses_of([bare, {**bare, "endpoints": None}, {**bare, "ports": None}], port="grpc") == [
        Address("10.0.0.1:5")
    ]
