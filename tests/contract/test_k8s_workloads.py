"""What runs, in every overlay: as its settings and its image say, bounded, probed, without rights it does not need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.common.events import topology
from services.common.health import LIVE
from services.common.tls import MESH_NAME
from tests.support.manifests import SERVICES, TOKENS, Rendered, combination, listens, overlay
from tests.support.service_settings import settings_class, variables
from tools.k8s_secrets import make as make_secrets

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
REPLICATED = ("base", "prod", "prod-gpu")
EVERY = (*REPLICATED, "dev")

each_overlay = pytest.mark.parametrize("name", EVERY)
each_service = pytest.mark.parametrize("workload", SERVICES)


@each_overlay
def test_every_service_and_what_it_needs_is_there(name: str) -> None:
    rendered = overlay(name)
    assert set(rendered.workloads) == {*SERVICES, "nats", "mongodb", "mongodb-initiate"}
    for workload, service in SERVICES.items():
        image = rendered.container(workload)["image"]
        assert re.fullmatch(rf"earmark-{service}(-gpu)?:[^:]+", image)


@each_service
@each_overlay
def test_every_variable_is_a_setting_of_its_service(name: str, workload: str) -> None:
    kind = settings_class(f"services.{SERVICES[workload]}")
    given = {variable for variable in overlay(name).environment(workload) if variable.startswith("EARMARK_")}
    # What all services are told may be of use to some only where it is common to all.
    assert given - variables(kind) == set()
    secrets = {f"EARMARK_{key.removeprefix('earmark_').upper()}" for key in given_secrets(overlay(name), workload)}
    assert secrets <= variables(kind)
    assert not secrets & given, "the environment would hide the secret"


@each_service
@each_overlay
def test_the_service_accepts_what_it_is_told(
    name: str, workload: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rendered = overlay(name)
    for variable, value in rendered.environment(workload, ordinal=1).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("socket.gethostname", lambda: f"{workload}-1")
    for key, value in given_secrets(rendered, workload).items():
        (tmp_path / key).write_text(value)
    settings = settings_class(f"services.{SERVICES[workload]}")(_secrets_dir=tmp_path)
    told = settings.model_dump()
    # What has a default that fits nobody but this machine is said.
    assert {"nats_url", "mongo_url", "object_store_url", "grpc_host"} <= settings.model_fields_set
    assert settings.nats_token is not None
    assert "earmark:" in settings.mongo_url.get_secret_value()
    assert "127.0.0.1" not in settings.nats_url + settings.mongo_url.get_secret_value() + settings.object_store_url
    if SERVICES[workload] == "transcriber":
        assert told["transcriber_roles"] == {workload}
    if workload == "gateway":
        assert told["access"] == "keys"
        assert {"admin_key", "url_secret", "embedder_target"} <= settings.model_fields_set
    if workload == "indexer":
        assert told["indexer_ordinal"] == 1
        assert told["advertise"].startswith("indexer-1.")


def given_secrets(rendered: Rendered, workload: str) -> dict[str, str]:
    """Files the service finds, with what tools/k8s_secrets.py puts there."""
    made = make_secrets()
    found: dict[str, str] = {}
    for path, secret in rendered.secret_files(workload).items():
        if path.endswith("/*"):
            found |= made[secret]
        else:
            found[path] = made[secret][path]
    return found


@pytest.mark.parametrize("name", [*EVERY, "redis"])
def test_every_key_of_a_secret_that_is_mounted_is_made(name: str) -> None:
    rendered, made = combination(name) if name == "redis" else overlay(name), make_secrets()
    if name != "redis":
        del made["earmark-redis"]
    used: set[tuple[str, str]] = set()
    of_certificates = {item["spec"]["secretName"] for item in rendered.of("Certificate").values()}
    for workload in rendered.workloads:
        for volume in rendered.pod(workload)["volumes"]:
            sources = [volume["secret"]] if "secret" in volume else []
            sources += [one["secret"] for one in volume.get("projected", {}).get("sources", []) if "secret" in one]
            for source in sources:
                secret = source.get("secretName", source.get("name"))
                if secret in of_certificates:
                    continue
                used |= {(secret, item["key"]) for item in source.get("items", [{"key": key} for key in made[secret]])}
    assert used == {(secret, key) for secret, keys in made.items() for key in keys}


@each_service
@each_overlay
def test_ports_are_those_the_service_listens_on(name: str, workload: str) -> None:
    rendered = overlay(name)
    ports = {port["name"]: port["containerPort"] for port in rendered.container(workload)["ports"]}
    assert ports == listens(rendered, workload)
    exposed = re.search(r"^EXPOSE (.*)$", stage(SERVICES[workload]), re.MULTILINE)
    assert exposed is not None
    assert {int(port) for port in exposed[1].split()} == set(ports.values()) - {ports.get("health")}


@each_service
@each_overlay
def test_probes_ask_health_over_grpc(name: str, workload: str) -> None:
    container = overlay(name).container(workload)
    ports = {port["containerPort"] for port in container["ports"]}
    for probe in PROBES:
        assert container[probe]["grpc"]["port"] in ports
    # Ready means that it can answer; alive, that it answers at all: an outage beneath must restart nobody.
    assert "service" not in container["readinessProbe"]["grpc"]
    assert container["livenessProbe"]["grpc"]["service"] == container["startupProbe"]["grpc"]["service"] == LIVE
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300


@pytest.mark.parametrize("workload", ["nats", "mongodb"])
def test_servers_are_probed(workload: str) -> None:
    container = overlay("base").container(workload)
    named = {port["name"] for port in container["ports"]}
    for probe in PROBES:
        (kind,) = {"tcpSocket", "httpGet", "exec"} & container[probe].keys()
        if kind == "exec":
            assert (workload, probe) == ("mongodb", "readinessProbe"), (
                "a member that follows, which a port does not say"
            )
        else:
            assert container[probe][kind]["port"] in named
    # Replaced one by one, each after the one before is a full member again; but none is killed for being behind.
    assert {key: container["readinessProbe"].get(key) for key in ("httpGet", "exec")} != {
        key: container["livenessProbe"].get(key) for key in ("httpGet", "exec")
    }


@each_overlay
def test_every_container_is_bounded_and_has_no_rights_it_does_not_need(name: str) -> None:
    rendered = overlay(name)
    for which, each in rendered.containers():
        assert {"cpu", "memory", "ephemeral-storage"} <= each["resources"]["requests"].keys(), which
        assert {"memory", "ephemeral-storage"} <= each["resources"]["limits"].keys(), which
        security = each["securityContext"]
        assert security["readOnlyRootFilesystem"] is True, which
        assert security["allowPrivilegeEscalation"] is False, which
        assert security["capabilities"] == {"drop": ["ALL"]}, which
        ours = re.fullmatch(r"earmark-[a-z-]+:(?!latest)[\w.-]+", each["image"])
        # A registry goes by the digest; the tag stays for people, and for `make image-digests`.
        theirs = re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+@sha256:[0-9a-f]{64}", each["image"])
        assert ours or theirs, f"{which}: {each['image']}"
    for workload in rendered.workloads:
        pod = rendered.pod(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True, workload
        assert pod["securityContext"]["runAsUser"] > 0, workload
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload
        if workload not in {"mongodb-initiate", "models"}:
            assert pod["serviceAccountName"] == workload
            assert rendered.one("ServiceAccount", workload)["automountServiceAccountToken"] is False
        token = pod.get("automountServiceAccountToken", True)
        assert token is False or (workload in TOKENS and "serviceAccountName" in pod), workload
        assert pod["enableServiceLinks"] is False, workload
        assert not pod.get("hostNetwork"), workload
        assert not any("hostPath" in volume for volume in pod["volumes"]), workload


@each_service
@each_overlay
def test_what_a_service_writes_lies_on_a_volume(name: str, workload: str) -> None:
    rendered = overlay(name)
    mounts = {mount["mountPath"] for mount in rendered.container(workload)["volumeMounts"]}
    given = rendered.environment(workload)
    written = {"/tmp"} | {
        given[variable]
        for variable in ("EARMARK_INDEX_DIR", "EARMARK_SPOOL_DIR", "EARMARK_EMBEDDING_CACHE_DIR")
        if variable in given
    }
    if given["EARMARK_OBJECT_STORE_URL"].startswith("file:"):
        written.add(given["EARMARK_OBJECT_STORE_URL"].removeprefix("file://"))
    assert written <= mounts


UNITS = {"Mi": 2**20, "Gi": 2**30}


def in_bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


@each_overlay
def test_what_is_written_beside_volumes_is_bounded_and_fits_the_pods_limit(name: str) -> None:
    rendered = overlay(name)
    for workload in rendered.workloads:
        pod = rendered.pod(workload)
        empty = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in one for one in empty), f"{workload}: a volume that may fill its node"
        on_disk = sum(in_bytes(one["sizeLimit"]) for one in empty if one.get("medium") != "Memory")
        assert on_disk < in_bytes(rendered.container(workload)["resources"]["limits"]["ephemeral-storage"]), workload
        for init in pod.get("initContainers", []):
            # The limit of a pod with init containers is the larger of theirs and the others'.
            assert init["resources"]["limits"].keys() >= {"memory", "ephemeral-storage"}


@pytest.mark.parametrize("workload", ["slicer", "preparer"])
def test_the_largest_media_fit_the_spool(workload: str) -> None:
    """Out of a bucket they are copied to TMPDIR, as many as are open at once."""
    rendered = overlay("prod")
    given = rendered.environment(workload)
    fields = settings_class("services.transcriber").model_fields
    assert given["TMPDIR"] == given["EARMARK_SPOOL_DIR"]
    (mount,) = (one for one in rendered.container(workload)["volumeMounts"] if one["mountPath"] == given["TMPDIR"])
    (volume,) = (one for one in rendered.pod(workload)["volumes"] if one["name"] == mount["name"])

    def told(field: str) -> int:
        return int(given.get(f"EARMARK_{field.upper()}", fields[field].default))

    files = (
        told("slicer_open_videos") if workload == "slicer" else 2 * told("renditions_open") + told("pictures_at_once")
    )
    assert files * told("max_upload_bytes") < in_bytes(volume["emptyDir"]["sizeLimit"])


def test_servers_of_nats_let_only_each_other_in() -> None:
    routes = make_secrets()["earmark-nats"]["routes.conf"]
    (password,) = re.findall(r'authorization \{ user: server, password: "(\w{64})" \}', routes)
    hosts = re.findall(rf"nats-route://server:{password}@(nats-\d\.nats):6222", routes)
    assert hosts == [f"nats-{ordinal}.nats" for ordinal in range(overlay("base").workloads["nats"]["spec"]["replicas"])]


@each_service
@each_overlay
def test_a_pod_has_time_for_the_shutdown_its_service_does(name: str, workload: str) -> None:
    rendered = overlay(name)
    given = rendered.settings()
    drain, grace = float(given["EARMARK_DRAIN_SECONDS"]), float(given["EARMARK_SHUTDOWN_GRACE_SECONDS"])
    before = rendered.container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before >= 5, "endpoints take a moment to leave every proxy"
    # The runner gives the grace to consumers, to the server and to what stops last, one after the other.
    assert rendered.pod(workload)["terminationGracePeriodSeconds"] >= before + drain + 3 * grace


@pytest.mark.parametrize("name", REPLICATED)
def test_one_node_can_go(name: str) -> None:
    rendered = overlay(name)
    for workload in {*SERVICES, "nats", "mongodb"}:
        budget = rendered.one("PodDisruptionBudget", workload)["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= rendered.labels(workload).items()
        spread = {one["topologyKey"]: one for one in rendered.pod(workload)["topologySpreadConstraints"]}
        assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        for one in spread.values():
            assert one["labelSelector"]["matchLabels"].items() <= rendered.labels(workload).items()
    for workload in ("nats", "mongodb"):
        assert rendered.workloads[workload]["spec"]["replicas"] == 3
        spread = {one["topologyKey"]: one for one in rendered.pod(workload)["topologySpreadConstraints"]}
        assert spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == "DoNotSchedule"
    shards = int(rendered.environment("indexer")["EARMARK_SHARDS"])
    assert rendered.workloads["indexer"]["spec"]["replicas"] == 2 * shards
    for workload in ("gateway", "embedder"):
        rolling = rendered.workloads[workload]["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxUnavailable"] == 0, "what answers searches is replaced before it goes"


@pytest.mark.parametrize("name", REPLICATED)
def test_each_scales_by_itself_within_bounds(name: str) -> None:
    rendered = overlay(name)
    for workload in ("gateway", "embedder", "slicer", "recognizer", "preparer"):
        assert "replicas" not in rendered.workloads[workload]["spec"], "the autoscaler says how many"
        kind = "HorizontalPodAutoscaler" if name == "base" else "ScaledObject"
        spec = rendered.one(kind, workload)["spec"]
        least = spec.get("minReplicas", spec.get("minReplicaCount"))
        most = spec.get("maxReplicas", spec.get("maxReplicaCount"))
        assert (1 if workload in {"slicer", "preparer"} else 2) <= least < most


def test_the_queues_that_are_scaled_by_are_consumers_there_are() -> None:
    rendered = overlay("prod")
    works = {"slicer": ["slicer"], "recognizer": ["recognizer"], "preparer": ["illustrator", "renderer"]}
    for work, consumers in works.items():
        spec = rendered.one("ScaledObject", work)["spec"]
        asked = [trigger["metadata"] for trigger in spec["triggers"]]
        assert {one["consumer"] for one in asked} == {row.name for name in consumers for row in topology.lanes_of(name)}
        assert {one["stream"] for one in asked} == {topology.EVENTS}
        namespace = rendered.one("ScaledObject", work)["metadata"]["namespace"]
        port = next(port["containerPort"] for port in rendered.container("nats")["ports"] if port["name"] == "monitor")
        assert {one["natsServerMonitoringEndpoint"] for one in asked} == {f"nats.{namespace}.svc:{port}"}
        if len(asked) > 1:
            formula = spec["advanced"]["scalingModifiers"]["formula"]
            assert sorted(formula.split(" + ")) == sorted(trigger["name"] for trigger in spec["triggers"])


def test_the_numbers_that_are_scaled_and_alerted_by_are_measured() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    rendered = overlay("prod")
    asked = [
        trigger["metadata"]["query"]
        for name in ("gateway", "embedder")
        for trigger in rendered.one("ScaledObject", name)["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    asked += [
        rule["expr"] for group in rendered.one("PrometheusRule", "earmark")["spec"]["groups"] for rule in group["rules"]
    ]
    for expression in asked:
        for metric in re.findall(r"\bearmark_\w+", expression):
            name = re.sub(r"_(count|sum|bucket)$", "", metric)
            assert f'"{name}"' in sources, f"nothing measures {metric}"


@each_overlay
def test_addresses_name_pods_and_services_that_exist(name: str) -> None:
    rendered = overlay(name)
    members = {
        workload: range(rendered.workloads[workload]["spec"].get("replicas", 1)) for workload in ("nats", "mongodb")
    }
    nats = rendered.settings()["EARMARK_NATS_URL"].split(",")
    assert nats == [f"nats://nats-{ordinal}.nats:4222" for ordinal in members["nats"]]
    assert int(rendered.settings()["EARMARK_NATS_REPLICAS"]) == len(nats)
    url = make_secrets()["earmark-mongodb"]["earmark_mongo_url"]
    # A member that is not there is one seed less.
    hosts = re.findall(r"(mongodb-\d)\.mongodb:27017", url)
    assert {f"mongodb-{ordinal}" for ordinal in members["mongodb"]} <= set(hosts)
    for workload, port in (("nats", 4222), ("mongodb", 27017)):
        assert rendered.workloads[workload]["spec"]["serviceName"] == workload
        service = rendered.one("Service", workload)["spec"]
        assert service["clusterIP"] == "None"
        assert port in {one["port"] for one in service["ports"]}
    target = re.fullmatch(r"dns:///([a-z-]+):(\d+)", rendered.environment("gateway")["EARMARK_EMBEDDER_TARGET"])
    assert target is not None
    service = rendered.one("Service", target[1])["spec"]
    assert service["clusterIP"] == "None", "behind a virtual address every caller would stick to one pod"
    assert int(target[2]) in {port["port"] for port in service["ports"]}


@each_overlay
def test_each_service_object_leads_to_ports_that_exist(name: str) -> None:
    rendered = overlay(name)
    for title, item in rendered.of("Service").items():
        selector = item["spec"]["selector"]
        chosen = [one for one in rendered.workloads if selector.items() <= rendered.labels(one).items()]
        assert len(chosen) == 1, title
        named = {port["name"] for port in rendered.container(chosen[0])["ports"]}
        assert {port["targetPort"] for port in item["spec"]["ports"]} <= named
    for item in rendered.of("Ingress").values():
        for rule in item["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = {port["name"] for port in rendered.one("Service", backend["name"])["spec"]["ports"]}
                assert backend["port"]["name"] in ports


@each_overlay
def test_an_indexer_announces_the_name_that_leads_to_its_pod(name: str) -> None:
    rendered = overlay(name)
    assert "EARMARK_SHARD_TARGETS" not in rendered.environment("gateway"), "the gateway reads what indexers announce"
    item = rendered.workloads["indexer"]
    port = settings_class("services.indexer").model_fields["grpc_port"].default
    assert rendered.environment("indexer")["EARMARK_ADVERTISE"] == f"indexer-0.{item['spec']['serviceName']}:{port}"
    assert item["spec"]["podManagementPolicy"] == "Parallel"
    headless = rendered.one("Service", item["spec"]["serviceName"])["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True


def test_the_gpu_overlay_asks_for_gpus_where_they_are_used() -> None:
    rendered = overlay("prod-gpu")
    for workload in SERVICES:
        pod, container = rendered.pod(workload), rendered.container(workload)
        wants = "nvidia.com/gpu" in container["resources"]["limits"]
        assert wants is (workload in {"recognizer", "embedder", "indexer"})
        assert wants is ("nodeSelector" in pod) is ("tolerations" in pod)
    given = rendered.environment("recognizer")
    assert (given["EARMARK_RECOGNIZER_DEVICE"], given["EARMARK_RECOGNIZER_COMPUTE_TYPE"]) == ("cuda", "float16")
    assert rendered.environment("embedder")["EARMARK_EMBEDDING_DEVICE"] == "cuda"


def test_streams_fit_the_volumes_they_are_kept_on() -> None:
    for rendered in (overlay("base"), overlay("dev")):
        conf = next(data for name, data in configs(rendered) if name.startswith("nats-config-"))["nats.conf"]
        most = re.search(r"max_file_store: (\d+)GB", conf)
        assert most is not None
        (claim,) = rendered.workloads["nats"]["spec"]["volumeClaimTemplates"]
        volume = re.fullmatch(r"(\d+)Gi", claim["spec"]["resources"]["requests"]["storage"])
        assert volume is not None
        assert sum(row.max_bytes for row in topology.STREAMS) < int(most[1]) * 10**9 < int(volume[1]) * 2**30


def configs(rendered: Rendered) -> list[tuple[str, dict[str, str]]]:
    return [(name, item["data"]) for name, item in rendered.of("ConfigMap").items()]


def test_what_wakes_somebody_is_explained() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    (group,) = overlay("prod").one("PrometheusRule", "earmark")["spec"]["groups"]
    missing = [rule["alert"] for rule in group["rules"] if rule["alert"] not in guide]
    assert missing == []


def test_in_tls_every_part_has_its_certificate_and_probes_need_none() -> None:
    rendered = combination("network-policies", "mtls")
    certificates = {item["spec"]["secretName"]: item["spec"] for item in rendered.of("Certificate").values()}
    folder = rendered.settings()["EARMARK_TLS_DIR"]
    for workload in SERVICES:
        container = rendered.container(workload)
        (mount,) = (mount for mount in container["volumeMounts"] if mount["mountPath"] == folder)
        (volume,) = (volume for volume in rendered.pod(workload)["volumes"] if volume["name"] == mount["name"])
        certificate = certificates[volume["secret"]["secretName"]]
        assert MESH_NAME in certificate["dnsNames"]
        assert {"server auth", "client auth"} <= set(certificate["usages"])
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == listens(rendered, workload)
        assert {container[probe]["grpc"]["port"] for probe in PROBES} == {ports["health"]}
    for server, port in (("nats", 4222), ("mongodb", 27017)):
        made = make_secrets(tls=True)
        text = rendered.settings()["EARMARK_NATS_URL"] + made["earmark-mongodb"]["earmark_mongo_url"]
        hosts = set(re.findall(rf"({server}-\d\.{server}):{port}", text))
        assert hosts <= set(certificates[f"mesh-{server}"]["dnsNames"])
    assert f"tlsCAFile={folder}/ca.crt" in made["earmark-mongodb"]["earmark_mongo_url"]
    assert "--tlsMode=requireTLS" in rendered.container("mongodb")["args"]
    # What is private of the authority is nobody's to mount.
    mounted = {
        volume.get("secret", {}).get("secretName")
        for name in rendered.workloads
        for volume in rendered.pod(name)["volumes"]
    }
    assert "mesh-authority" not in mounted


@pytest.mark.parametrize(("component", "init"), [("models-baked", 0), ("models-volume", 1)])
def test_models_come_by_the_way_that_was_chosen(component: str, init: int) -> None:
    rendered = combination(component)
    for workload in ("recognizer", "embedder"):
        pod = rendered.pod(workload)
        mounts = {mount["mountPath"] for mount in rendered.container(workload)["volumeMounts"]}
        assert len(pod.get("initContainers") or []) == init
        assert ("/models" in mounts) is (component == "models-volume")
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        if component == "models-volume":
            assert volumes["models"] == {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
        else:
            assert "models" not in volumes


def test_several_gateways_keep_answers_in_one_redis() -> None:
    rendered = combination("network-policies", "redis")
    assert rendered.secret_files("gateway")["earmark_search_cache_url"] == "earmark-redis"
    assert given_secrets(rendered, "gateway")["earmark_search_cache_url"].endswith("@redis:6379/0")
    assert "EARMARK_SEARCH_CACHE_URL" in variables(settings_class("services.gateway"))
    service = rendered.one("Service", "redis")["spec"]
    assert [port["port"] for port in service["ports"]] == [6379]
    assert "maxmemory-policy" in " ".join(rendered.container("redis")["command"])
    callers = rendered.one("NetworkPolicy", "redis")["spec"]["ingress"]
    assert callers == [
        {
            "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}],
            "ports": [{"port": 6379}],
        }
    ]
    reached = [rule["ports"] for rule in rendered.one("NetworkPolicy", "gateway")["spec"]["egress"]]
    assert [{"port": 6379}] in reached


def test_the_gateway_may_ask_the_cluster_what_it_asks_and_is_told_where_it_is() -> None:
    rendered = overlay("prod")
    pod = rendered.pod("gateway")
    assert pod["serviceAccountName"] in rendered.of("ServiceAccount")
    binding = rendered.one("RoleBinding", "gateway")
    assert binding["roleRef"]["name"] in rendered.of("Role")
    assert {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": "earmark"} in binding["subjects"]
    given = rendered.environment("gateway")
    assert given["EARMARK_KUBERNETES_NAMESPACE"] == "earmark"
    fields = settings_class("services.gateway").model_fields
    leases = [rule for rule in rendered.one("Role", "gateway")["rules"] if "resourceNames" in rule]
    assert leases[0]["resourceNames"] == [given.get("EARMARK_LEASE_NAME", fields["lease_name"].default)]
    for setting in ("indexer_service", "embedder_service"):
        name = given.get(f"EARMARK_{setting.upper()}", fields[setting].default)
        assert "grpc" in {port["name"] for port in rendered.one("Service", name)["spec"]["ports"]}


def test_external_servers_take_the_places_of_the_bases() -> None:
    rendered = combination("network-policies", "external-mongodb", "external-nats", "s3")
    assert set(rendered.workloads) == set(SERVICES)
    assert rendered.settings()["EARMARK_NATS_URL"].startswith("tls://")
    assert rendered.settings()["EARMARK_OBJECT_STORE_URL"].startswith("s3://")
    made = make_secrets(mongo_url="mongodb+srv://earmark:x@documents.example.org/", nats_token="given")
    assert set(made["earmark-mongodb"]) == {"earmark_mongo_url"}
    assert made["earmark-nats"]["earmark_nats_token"] == "given"
    assert not rendered.of("PersistentVolumeClaim")


def stage(service: str) -> str:
    """The part of the Dockerfile that makes a service's image."""
    found = re.search(rf"^FROM runtime\S* AS {service}$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]
