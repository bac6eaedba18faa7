"""Every overlay, and each combination of components that makes sense, renders into what the APIs take, strictly."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_validate import utils as schemas
from referencing import Registry, Resource

from tests.support.manifests import K8S, Manifest, Rendered, combination, overlay

OLDEST, NEWEST = "1.30.0", schemas.latest_version()
CRDS = Path(__file__).parent / "crds"
COMPONENTS = sorted(folder.name for folder in (K8S / "components").iterdir())
OVERLAYS = sorted(folder.name for folder in (K8S / "overlays").iterdir())
TOGETHER = (
    ("network-policies", "external-mongodb"),
    ("network-policies", "external-nats"),
    ("network-policies", "s3"),
    ("network-policies", "external-mongodb", "external-nats", "s3"),
    ("network-policies", "service-monitors", "keda", "gpu"),
    ("network-policies", "dev-single-replica"),
    ("dev-single-replica", "s3", "gpu"),
    ("network-policies", "mtls"),
    ("network-policies", "redis"),
    ("network-policies", "mtls", "s3", "external-mongodb", "ingress-tls"),
    ("mtls", "dev-single-replica"),
    ("mtls", "gpu", "models-baked", "keda"),
)
CASES: list[Any] = [
    *(pytest.param(functools.partial(overlay, name), id=name) for name in ("base", *OVERLAYS)),
    *(pytest.param(functools.partial(combination, name), id=name) for name in COMPONENTS),
    *(pytest.param(functools.partial(combination, *names), id="+".join(names)) for names in TOGETHER),
]


@functools.cache
def definitions(version: str) -> Registry[Any]:
    """What the schemas of a version have in common."""
    found = schemas.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
    return Resource.from_contents(found) @ Registry()


@functools.cache
def validator(version: str, api: str, kind: str) -> jsonschema.protocols.Validator:
    group, _, of_group = api.rpartition("/")
    custom = CRDS / f"{group}_{of_group}_{kind.lower()}.yaml"
    if custom.is_file():
        spec = yaml.safe_load(custom.read_text())
        whole = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
        return jsonschema.Draft202012Validator(whole)
    name = f"{kind.lower()}-{'-'.join(filter(None, (group.partition('.')[0], of_group)))}"
    schema = schemas.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{name}.json", version)
    return jsonschema.Draft202012Validator(schema, registry=definitions(version))


@functools.cache
def problems(version: str, manifest: str) -> list[str]:
    """What an API has against an object, given as JSON; most objects are the same in many of the cases."""
    item = json.loads(manifest)
    return [
        f"{item['kind']} {item['metadata']['name']}: {error.json_path}: {error.message}"
        for error in validator(version, item["apiVersion"], item["kind"]).iter_errors(item)
    ]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("render", CASES)
def test_every_object_is_what_the_api_takes(render: functools.partial[Rendered], version: str) -> None:
    assert [problem for item in render().items for problem in problems(version, json.dumps(item))] == []


@pytest.mark.parametrize("render", CASES)
def test_nothing_is_there_twice_and_all_that_is_named_is_there(render: functools.partial[Rendered]) -> None:
    rendered = render()
    names = Counter((item["kind"], item["metadata"]["name"]) for item in rendered.items)
    assert [name for name, count in names.items() if count > 1] == []
    # cert-manager writes a Certificate's Secret, and one of the same name for each `tls` of an Ingress.
    written = Counter(item["spec"]["secretName"] for item in rendered.of("Certificate").values())
    written += Counter(tls["secretName"] for item in rendered.of("Ingress").values() for tls in item["spec"]["tls"])
    assert [name for name, count in written.items() if count > 1] == []
    for item in rendered.of("PodDisruptionBudget", "NetworkPolicy").values():
        selector = item["spec"].get("selector", item["spec"].get("podSelector"))
        assert selector == {} or chosen(rendered, selector), f"{item['metadata']['name']} chooses nobody"
    for item in rendered.of("HorizontalPodAutoscaler", "ScaledObject").values():
        assert item["spec"]["scaleTargetRef"]["name"] in rendered.of("Deployment")
    # Two that scale one thing would undo each other's work.
    scaled = Counter(
        item["spec"]["scaleTargetRef"]["name"]
        for item in rendered.items
        if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    )
    assert set(scaled.values()) <= {1}
    for name in rendered.workloads:
        for volume in rendered.pod(name)["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in rendered.of("ConfigMap"), name
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in rendered.of("PersistentVolumeClaim"), name
        assert rendered.pod(name)["priorityClassName"] in rendered.of("PriorityClass"), name
        assert rendered.pod(name).get("serviceAccountName", "default") in {"default", *rendered.of("ServiceAccount")}


@pytest.mark.parametrize("render", CASES)
def test_every_mount_has_its_volume_and_every_volume_a_mount(render: functools.partial[Rendered]) -> None:
    rendered = render()
    for name, workload in rendered.workloads.items():
        pod = rendered.pod(name)
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {
            mount["name"]
            for each in (*pod["containers"], *pod.get("initContainers", []))
            for mount in each["volumeMounts"]
        }
        assert volumes == mounted, name


@pytest.mark.parametrize("breakage", ["an unknown field", "a wrong type", "a missing field"])
def test_a_mistake_is_seen(breakage: str) -> None:
    (found,) = (
        item for item in overlay("prod").items if (item["kind"], item["metadata"]["name"]) == ("ScaledObject", "slicer")
    )
    scaled: Manifest = yaml.safe_load(yaml.safe_dump(found))
    deployed: Manifest = yaml.safe_load(yaml.safe_dump(overlay("prod").one("Deployment", "slicer")))
    if breakage == "an unknown field":
        scaled["spec"]["minReplicas"] = 1
        deployed["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    elif breakage == "a wrong type":
        scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"] = 8
        deployed["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "75"
    else:
        del scaled["spec"]["triggers"][0]["metadata"]["stream"]
        del deployed["spec"]["selector"]
    for item in (scaled, deployed):
        assert not validator(NEWEST, item["apiVersion"], item["kind"]).is_valid(item)


def chosen(rendered: Rendered, selector: Manifest) -> list[str]:
    """Workloads whose pods a selector chooses."""
    return [name for name in rendered.workloads if chooses(selector, rendered.labels(name))]


def chooses(selector: Manifest, labels: dict[str, str]) -> bool:
    """Says whether a selector chooses what has these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )


def test_the_components_are_those_that_are_promised() -> None:
    wanted = (
        "network-policies service-monitors gpu keda ingress-tls mtls external-mongodb external-nats s3 "
        "dev-single-replica redis"
    )
    assert set(wanted.split()) <= set(COMPONENTS)
    assert OVERLAYS == ["dev", "prod", "prod-gpu"]
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in COMPONENTS)
