"""The objects of a mesh in a namespace of a cluster, over the official client.

They are taken as JSON, since an API server may be newer than the client's models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from earmark.k8s import places as numbering
from earmark.k8s.places import Place
from earmark.k8s.rollout import Pod, Workload

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Json = dict[str, Any]

INDEXER = "indexer"
PLACES = "indexer-places"
PLACES_KEY = "places"
STATE = "earmark.dev/scale-shards"
PART_OF = "app.kubernetes.io/part-of=earmark"
_NAME = "app.kubernetes.io/name"
_DEFAULT_SHARDS = 2
_SECONDS = 30.0
_OK = 300


class ClusterError(Exception):
    """The cluster did not do what it was asked; the message says why, for people.

    Attributes:
        status: The HTTP status; 0 when nobody answered.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):
    """Somebody else has changed the same object at the same moment."""


@dataclass(frozen=True, slots=True)
class Indexers:
    """The StatefulSet of the indexers.

    Attributes:
        workload: How it is.
        shards: EARMARK_SHARDS of its pods: the rule for those whose place is not written down.
        reads_places: Whether its pods read the places that are written down.
    """

    workload: Workload
    shards: int
    reads_places: bool


@dataclass(frozen=True, slots=True)
class Numbering:
    """What is written down of the pods' places, and of a change under way.

    Attributes:
        places: By number; empty while nothing is written down.
        state: Of the change under way; None without one.
        version: Version of the object; empty while there is none.
    """

    places: tuple[Place, ...]
    state: Json | None
    version: str


class Cluster:
    """One namespace.

    Args:
        client: The official client.
        namespace: The namespace.
    """

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    @classmethod
    def connect(cls, *, namespace: str | None, context: str | None = None, kubeconfig: Path | None = None) -> Self:
        """Connects as the kubeconfig says.

        Raises:
            ClusterError: There is no client, or nothing says where the cluster is.
        """
        try:
            from kubernetes import config
        except ImportError as error:
            raise ClusterError("The Kubernetes client is not installed: pip install 'earmark[k8s]'.") from error
        try:
            client = config.new_client_from_config(str(kubeconfig) if kubeconfig else None, context)
            _, current = config.list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)
        except config.ConfigException as error:
            raise ClusterError(f"No cluster is known: {error} Name a kubeconfig with --kubeconfig.") from error
        return cls(client, namespace or current.get("context", {}).get("namespace") or "default")

    def indexers(self) -> Indexers:
        """Gives the StatefulSet of the indexers. Raises ClusterError."""
        found = self._call("GET", self._apps("statefulsets", INDEXER))
        (container, *_) = found["spec"]["template"]["spec"]["containers"]
        env = {entry["name"]: entry for entry in container.get("env") or ()}
        shards = env.get("EARMARK_SHARDS", {}).get("value")
        reference = env.get("EARMARK_INDEXER_PLACES", {}).get("valueFrom", {}).get("configMapKeyRef", {})
        return Indexers(
            Workload.parse("StatefulSet", found),
            int(shards) if shards else _DEFAULT_SHARDS,
            reference.get("name") == PLACES,
        )

    def workloads(self) -> list[Workload]:
        """Gives the Deployments and StatefulSets of the mesh. Raises ClusterError."""
        found = []
        for kind, plural in (("Deployment", "deployments"), ("StatefulSet", "statefulsets")):
            listed = self._call("GET", f"{self._apps(plural)}?labelSelector={PART_OF}")
            found += [Workload.parse(kind, item) for item in listed.get("items") or ()]
        return sorted(found, key=lambda workload: workload.name)

    def pods(self, name: str = INDEXER) -> list[Pod]:
        """Gives the pods of a workload, by number where they have one. Raises ClusterError."""
        listed = self._call("GET", f"{self._core('pods')}?labelSelector={_NAME}={name}")
        return sorted((Pod.parse(item) for item in listed.get("items") or ()), key=lambda pod: (pod.ordinal, pod.name))

    def delete_pod(self, name: str) -> None:
        """Ends a pod; its StatefulSet makes it anew. Raises ClusterError."""
        self._call("DELETE", self._core("pods", name))

    def scale_indexers(self, pods: int) -> None:
        """Has so many pods. Raises ClusterError."""
        self._call("PATCH", self._apps("statefulsets", INDEXER) + "/scale", {"spec": {"replicas": pods}})

    def numbering(self) -> Numbering:
        """Gives what is written down of the pods' places. Raises ClusterError."""
        try:
            found = self._call("GET", self._core("configmaps", PLACES))
        except ClusterError as error:
            if error.status == 404:
                return Numbering((), None, "")
            raise
        meta = found["metadata"]
        state = (meta.get("annotations") or {}).get(STATE)
        try:
            places = numbering.parse((found.get("data") or {}).get(PLACES_KEY, ""))
            return Numbering(places, json.loads(state) if state else None, meta["resourceVersion"])
        except ValueError as error:
            raise ClusterError(f"The ConfigMap {PLACES} cannot be read: {error}") from error

    def write_numbering(self, before: Numbering, places: Sequence[Place], state: Mapping[str, Any] | None) -> Numbering:
        """Writes places and state down, if they are still as `before`. Raises Conflict, ClusterError."""
        meta: Json = {
            "name": PLACES,
            "labels": {_NAME: INDEXER, "app.kubernetes.io/part-of": "earmark"},
            "annotations": {STATE: json.dumps(state)} if state is not None else {},
        }
        body: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {PLACES_KEY: numbering.written(places)},
        }
        if before.version:
            meta["resourceVersion"] = before.version
            made = self._call("PUT", self._core("configmaps", PLACES), body)
        else:
            made = self._call("POST", self._core("configmaps"), body)
        return Numbering(tuple(places), dict(state) if state is not None else None, made["metadata"]["resourceVersion"])

    def _apps(self, plural: str, name: str = "") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def _core(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        try:
            request = self._client.param_serialize(
                method=method, resource_path=path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = self._client.call_api(*request, _request_timeout=_SECONDS)
            text = response.read()
        except (HTTPError, ApiException, OSError) as error:
            raise ClusterError(f"The cluster does not answer: {error}") from error
        if response.status < _OK:
            read: Json = json.loads(text)
            return read
        raise _refused(response.status, text, f"{method} {path.partition('?')[0]}")


def _refused(status: int, text: bytes, what: str) -> ClusterError:
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text[:200].decode(errors="replace")
    if status == 409:
        return Conflict(f"Somebody else has changed it at the same moment ({message}).", status=status)
    if status == 403:
        message = f"{message}. docs/operations.md lists the rights `earmark k8s` needs"
    return ClusterError(f"The cluster refused {what}: {message}.", status=status)
