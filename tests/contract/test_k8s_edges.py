"""Network policies: exactly the edges there are in the code, and nobody else talks to anybody."""

from __future__ import annotations

import pytest

from tests.support.manifests import SERVICES, Manifest, Rendered, combination, listens, overlay

NATS, MONGODB = ("nats", 4222), ("mongodb", 27017)
USED = {
    # services/common/events/bus.py and services/common/mongo.py: everybody
    *((caller, *server) for caller in SERVICES for server in (NATS, MONGODB)),
    # services/gateway/clients.py and peers.py
    ("gateway", "embedder", 50052),
    ("gateway", "indexer", 50053),
    # the servers among themselves, and who makes the replica set
    ("nats", "nats", 6222),
    ("mongodb", *MONGODB),
    ("mongodb-initiate", *MONGODB),
}
"""(who calls, who is called, on which port), inside the namespace."""
OUTSIDE = {
    ("ingress-nginx", "gateway", 8080),
    ("ingress-nginx", "gateway", 50050),
    ("keda", "nats", 8222),
    ("monitoring", "nats", 8222),
    *(("monitoring", name, port) for name, port in zip(SERVICES, (9104, 9101, 9101, 9101, 9102, 9103), strict=True)),
}
"""The same, from other namespaces."""


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return combination("network-policies")


def test_nothing_is_allowed_that_no_policy_allows(rendered: Rendered) -> None:
    deny = rendered.one("NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_the_edges_inside_are_those_of_the_code(rendered: Rendered, direction: str) -> None:
    assert inside(rendered, direction) == USED


def test_from_other_namespaces_only_these_come_in(rendered: Rendered) -> None:
    found = set()
    for callee, rule in rules(rendered, "ingress"):
        for peer in rule["from"]:
            name = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
            found |= {(name, callee, port) for port in ports(rendered, callee, rule) if name}
    assert found == OUTSIDE


def test_only_what_fetches_media_reaches_the_world_and_nothing_private(rendered: Rendered) -> None:
    reaching = {}
    for caller, rule in rules(rendered, "egress"):
        for peer in rule["to"]:
            if "ipBlock" in peer:
                reaching.setdefault(caller, []).append(peer["ipBlock"])
                # The gateway asks the cluster's API, which no selector names.
                assert ports(rendered, caller, rule) == ({443, 6443} if caller == "gateway" else {80, 443})
    assert set(reaching) == {"gateway", "slicer", "recognizer"}
    for caller in ("slicer", "recognizer"):
        refused = {network for block in reaching[caller] for network in block["except"]}
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7"} <= refused


def test_a_bucket_is_reached_by_all_that_use_it() -> None:
    rendered = overlay("prod")
    reaching = {
        caller
        for caller, rule in rules(rendered, "egress")
        if any(
            peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" and "except" not in peer["ipBlock"]
            for peer in rule["to"]
        )
        and 443 in ports(rendered, caller, rule)
    }
    assert set(SERVICES) <= reaching


def test_ports_are_those_listened_on(rendered: Rendered) -> None:
    for callee, rule in rules(rendered, "ingress"):
        if callee in SERVICES:
            assert ports(rendered, callee, rule) <= set(listens(rendered, callee).values())


def inside(rendered: Rendered, direction: str) -> set[tuple[str, str, int]]:
    """Edges between workloads that the policies of one direction allow."""
    found = set()
    key = "from" if direction == "ingress" else "to"
    for one, rule in rules(rendered, direction):
        for peer in rule[key]:
            if set(peer) != {"podSelector"}:
                continue
            for other in rendered.workloads:
                if chosen(peer["podSelector"], rendered.labels(other)):
                    caller, callee = (other, one) if direction == "ingress" else (one, other)
                    found |= {(caller, callee, port) for port in ports(rendered, callee, rule)}
    return found


def rules(rendered: Rendered, direction: str) -> list[tuple[str, Manifest]]:
    """The rules of one direction, each with a workload it is for; those for DNS are for all."""
    return [
        (workload, rule)
        for title, policy in rendered.of("NetworkPolicy").items()
        if title != "dns"
        for workload in rendered.workloads
        if chosen(policy["spec"]["podSelector"], rendered.labels(workload))
        for rule in policy["spec"].get(direction, [])
    ]


def ports(rendered: Rendered, callee: str, rule: Manifest) -> set[int]:
    """Ports of a rule by number; one with a name is looked up where it leads."""
    named = {port["name"]: port["containerPort"] for port in rendered.container(callee).get("ports", [])}
    return {named.get(port["port"], port["port"]) for port in rule["ports"]}


def chosen(selector: Manifest, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(expression["key"]) in expression["values"] for expression in selector.get("matchExpressions", [])
    )
