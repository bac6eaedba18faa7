"""How Deployments, StatefulSets and pods are, as Kubernetes says it in many fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

Json = dict[str, Any]

_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or a StatefulSet.

    Attributes:
        kind: Which of them.
        name: Its name.
        wanted: Pods there are to be.
        present: Pods there are.
        ready: Pods that are ready.
        updated: Pods of the newest version.
        images: Images of its containers.
        problem: Why it does not get on; empty when nothing says so.
        seen: Whether its controller has taken note of the last change.
    """

    kind: str
    name: str
    wanted: int
    present: int
    ready: int
    updated: int
    images: tuple[str, ...]
    problem: str
    seen: bool

    @property
    def rolled_out(self) -> bool:
        """Whether all pods there are to be are there, ready, and of the newest version."""
        return self.seen and self.present == self.ready == self.updated == self.wanted

    @property
    def state(self) -> str:
        """How it is, in a word or two."""
        if self.rolled_out:
            return "complete"
        if self.problem:
            return "stuck"
        if self.updated < self.wanted or not self.seen:
            return "rolling out"
        return "scaling down" if self.present > self.wanted else "waiting for pods"

    @classmethod
    def parse(cls, kind: str, item: Json) -> Self:
        """From the API's JSON."""
        spec, status, meta = item["spec"], item.get("status") or {}, item["metadata"]
        wanted = spec.get("replicas", 1)
        updated = status.get("updatedReplicas", 0)
        if kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
            updated = status.get("replicas", 0)  # counted only while a rollout is under way
        conditions = status.get("conditions") or ()
        problem = next(
            (
                str(one.get("message") or one.get("reason"))
                for one in conditions
                if (one.get("type"), one.get("status")) in {("Progressing", "False"), ("ReplicaFailure", "True")}
            ),
            "",
        )
        containers = spec.get("template", {}).get("spec", {}).get("containers") or ()
        return cls(
            kind=kind,
            name=meta["name"],
            wanted=wanted,
            present=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            updated=updated,
            images=tuple(str(container.get("image", "")) for container in containers),
            problem=problem,
            seen=status.get("observedGeneration", 0) >= meta.get("generation", 0),
        )

    def as_json(self) -> Json:
        """For programs."""
        return {
            "kind": self.kind,
            "name": self.name,
            "wanted": self.wanted,
            "present": self.present,
            "ready": self.ready,
            "updated": self.updated,
            "state": self.state,
            "problem": self.problem or None,
            "images": list(self.images),
        }


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod.

    Attributes:
        name: Its name.
        uid: Tells it from one of the same name before or after it.
        ordinal: The number its name ends with; -1 for none.
        node: Where it runs; empty while that is not decided.
        ready: Whether it is ready.
        leaving: Whether it is about to end.
        state: How it is, in a word.
        restarts: How often a container of it was started anew.
    """

    name: str
    uid: str
    ordinal: int
    node: str
    ready: bool
    leaving: bool
    state: str
    restarts: int

    @classmethod
    def parse(cls, item: Json) -> Self:
        """From the API's JSON."""
        meta, status = item["metadata"], item.get("status") or {}
        number = re.search(r"-(\d+)$", meta["name"])
        containers = status.get("containerStatuses") or ()
        ready = any((one.get("type"), one.get("status")) == ("Ready", "True") for one in status.get("conditions") or ())
        leaving = "deletionTimestamp" in meta
        waiting = [(one.get("state") or {}).get("waiting", {}).get("reason", "") for one in containers]
        reason = next((one for one in waiting if one and one not in _STARTING), "")
        return cls(
            name=meta["name"],
            uid=meta.get("uid", ""),
            ordinal=int(number[1]) if number else -1,
            node=item.get("spec", {}).get("nodeName", ""),
            ready=ready,
            leaving=leaving,
            state="ending" if leaving else "ready" if ready else reason or str(status.get("phase", "?")).lower(),
            restarts=sum(one.get("restartCount", 0) for one in containers),
        )

    def as_json(self) -> Json:
        """For programs."""
        return {
            "name": self.name,
            "node": self.node or None,
            "state": self.state,
            "ready": self.ready,
            "restarts": self.restarts,
        }
