"""Changing the number of shards on a cluster, step by step.

    pin ──▶ grow ──▶ move ──▶ verify ──▶ retire ──▶ done
    places   new      slots,   every      free pods take the places of
    written  pods     by the   copy       those that go; the last pods go
    down     ready    gateway  counted

Each step looks at what there is, does what is missing, and waits until it is so. What is wanted, and the step, are
written down with the places, in one object; so a step that was broken off anywhere is simply done again, by whoever
runs the command next. What answers searches is never touched before what takes its place is ready.
"""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from earmark.client.errors import ConnectionFailed
from earmark.client.index import IndexDigests, IndexStatus, MovePlan, Replica
from earmark.k8s import places as numbering
from earmark.k8s.cluster import Indexers, Numbering
from earmark.k8s.places import Place, Reassignment, Retirement
from earmark.k8s.rollout import Pod

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 900.0
VERIFY_ATTEMPTS = 5
SLOTS = 256


class Step(enum.StrEnum):
    """How far a change is."""

    PIN = "pin"
    GROW = "grow"
    MOVE = "move"
    VERIFY = "verify"
    RETIRE = "retire"


class Refused(Exception):
    """The change cannot begin or go on as things are; the message says what to mend."""


class Pods(Protocol):
    """The cluster; see `earmark.k8s.cluster.Cluster`."""

    def indexers(self) -> Indexers:
        """Gives the StatefulSet."""
        ...

    def pods(self) -> list[Pod]:
        """Gives its pods."""
        ...

    def delete_pod(self, name: str) -> None:
        """Ends a pod; it is made anew."""
        ...

    def scale_indexers(self, pods: int) -> None:
        """Has so many pods."""
        ...

    def numbering(self) -> Numbering:
        """Gives what is written down."""
        ...

    def write_numbering(self, before: Numbering, places: Sequence[Place], state: Any) -> Numbering:
        """Writes it down."""
        ...


class Index(Protocol):
    """The gateway; see `earmark.client.index.Index`."""

    def status(self) -> IndexStatus:
        """How the shards are."""
        ...

    def plan(self, *, shards: int | None = None) -> MovePlan:
        """What would move."""
        ...

    def scale(self, shards: int) -> MovePlan:
        """Has the slots spread."""
        ...

    def digests(self) -> IndexDigests:
        """What every replica holds."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change would do.

    Attributes:
        shards_before: Shards that have slots now.
        shards: Shards there are to be.
        replicas: Replicas each is to have at least.
        places: Places of the pods there are.
        grown: Places once the new pods are there.
        slots: Slots that move.
        chunks: Chunks in them; None when that is not known.
        chunks_total: Chunks in all slots; None when that is not known.
        sequence: The newest event.
        retirement: What goes at the end.
        step: The step that a change under way is at; None when none is.
    """

    shards_before: int
    shards: int
    replicas: int
    places: tuple[Place, ...]
    grown: tuple[Place, ...]
    slots: int
    chunks: int | None
    chunks_total: int | None
    sequence: int
    retirement: Retirement
    step: Step | None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.step is None and self.grown == self.places == self.final and not self.slots

    @property
    def final(self) -> tuple[Place, ...]:
        """Places when all is done."""
        places = self.grown
        for change in self.retirement.reassignments:
            places = numbering.reassigned(places, change)
        return places[: self.retirement.pods]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "shards_before": self.shards_before,
            "shards": self.shards,
            "replicas": self.replicas,
            "pods_before": len(self.places),
            "pods_most": len(self.grown),
            "pods": self.retirement.pods,
            "new_pods": {f"indexer-{n}": str(self.grown[n]) for n in range(len(self.places), len(self.grown))},
            "slots": self.slots,
            "chunks": self.chunks,
            "reassigned": {f"indexer-{change.ordinal}": str(change.place) for change in self.retirement.reassignments},
            "places": numbering.written(self.final),
            "resumes_at": self.step,
        }


class ShardScaling:
    """Brings a mesh on a cluster to another number of shards.

    Args:
        cluster: The pods.
        index: The gateway.
        say: Takes what happens, a line at a time, and whether it is only news of something that goes on.
        look_seconds: Time between two looks.
        patience_seconds: Time without any progress after which it gives up; it can be run again.
        clock: Gives seconds that only grow.
        wait: Waits some seconds.
    """

    def __init__(
        self,
        cluster: Pods,
        index: Index,
        *,
        say: Callable[[str, bool], None],
        wait: Callable[[float], None],
        look_seconds: float = LOOK_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._index = index
        self._say = say
        self._wait = wait
        self._look = look_seconds
        self._patience = patience_seconds
        self._clock = clock

    def plan(self, shards: int) -> Plan:
        """Says what would be done, and changes nothing.

        Raises:
            Refused: It cannot be done as things are.
        """
        indexers, written = self._cluster.indexers(), self._cluster.numbering()
        if not indexers.reads_places:
            raise Refused(
                "The StatefulSet's pods do not read the ConfigMap indexer-places (EARMARK_INDEXER_PLACES), so they "
                "would not know their new places. Apply the manifests of this version first."
            )
        status = self._index.status()
        step = Step(written.state["step"]) if written.state is not None else None
        if written.state is not None and written.state["shards"] != shards:
            raise Refused(
                f"A change to {written.state['shards']} shards is under way, at the step {step}. Finish it first: "
                f"earmark k8s scale-shards {written.state['shards']}"
            )
        places = self._places(indexers, written)
        if written.state is None:
            self._check_sound(indexers, places, status)
        serving = {shard.shard for shard in status.shards if shard.slots}
        replicas = (
            written.state["replicas"]
            if written.state is not None
            else max(1, numbering.replicas_of(places, 1 + max(serving, default=0)))
        )
        grown = numbering.grown(places, shards, replicas)
        moves = self._index.plan(shards=shards)
        return Plan(
            shards_before=len(serving),
            shards=shards,
            replicas=replicas,
            places=places,
            grown=grown,
            slots=moves.slots,
            chunks=moves.chunks,
            chunks_total=_total(moves),
            sequence=status.stream_sequence,
            retirement=numbering.retirement(grown, shards, replicas),
            step=step,
        )

    def run(self, shards: int) -> Plan:
        """Does it, from wherever it is, and gives what was to be done.

        Raises:
            Refused: It cannot begin, or does not get on. What is done stays done; run it again.
        """
        plan = self.plan(shards)
        if plan.idle:
            return plan
        written = self._cluster.numbering()
        if written.state is None:
            written = self._pin(written, plan)
        assert written.state is not None
        step = Step(written.state["step"])
        if step is Step.RETIRE and _not_settled(self._index.status(), shards):
            step = Step.MOVE  # somebody has moved slots since
        steps = {Step.GROW: self._grow, Step.MOVE: self._move, Step.VERIFY: self._verify, Step.RETIRE: self._retire}
        left = itertools.dropwhile(lambda one: step in steps and one[0] is not step, steps.items())
        for at, work in left:
            written = work(written, plan, {**written.state, "step": at})
            assert written.state is not None
        self._cluster.write_numbering(written, written.places, None)
        return plan

    # ── the steps ────────────────────────────────────────────────────────────────────────────────

    def _pin(self, written: Numbering, plan: Plan) -> Numbering:
        """Writes down where every pod is: from here on it keeps that place, whatever EARMARK_SHARDS says."""
        self._at(Step.PIN, f"{len(plan.places)} pods keep their places: {numbering.written(plan.places)}")
        state = {
            "shards": plan.shards,
            "replicas": plan.replicas,
            "step": Step.PIN,
            "begun_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "chunks": plan.chunks_total,
            "sequence": plan.sequence,
        }
        return self._cluster.write_numbering(written, plan.places, state)

    def _grow(self, written: Numbering, plan: Plan, state: dict[str, Any]) -> Numbering:
        written = self._cluster.write_numbering(written, plan.grown, state)
        needed = 1 + max(number for number, place in enumerate(plan.grown) if place.shard < plan.shards)
        present = self._cluster.indexers().workload.wanted
        if present < needed:
            self._at(Step.GROW, f"{needed - present} new pods: {numbering.written(plan.grown[present:needed])}")
            self._cluster.scale_indexers(needed)
        wanted = [place for place in plan.grown if place.shard < plan.shards]
        self._until(Step.GROW, lambda: self._missing(wanted))
        return written

    def _move(self, written: Numbering, plan: Plan, state: dict[str, Any]) -> Numbering:
        written = self._cluster.write_numbering(written, written.places, state)
        moves = self._index.scale(plan.shards)
        self._at(Step.MOVE, f"{moves.slots} slots move" if moves.slots else "no slot has to move")
        self._until(Step.MOVE, lambda: _not_settled(self._index.status(), plan.shards))
        return written

    def _verify(self, written: Numbering, plan: Plan, state: dict[str, Any]) -> Numbering:
        written = self._cluster.write_numbering(written, written.places, state)
        problem = ""
        for _ in range(VERIFY_ATTEMPTS):
            # Events that come in between make differences that are none: then it is compared again.
            digests = self._index.digests()
            problem = _difference(digests, self._index.status(), state)
            if not problem:
                chunks = sum(count for count, _ in _slots(digests).values())
                self._at(Step.VERIFY, f"all replicas of {plan.shards} shards agree on {SLOTS} slots, {chunks:,} chunks")
                return written
            self._say(f"{Step.VERIFY}: {problem}; comparing again", True)
            self._wait(self._look)
        raise Refused(f"The copies are not alike: {problem}. Nothing was taken away; run it again to compare again.")

    def _retire(self, written: Numbering, plan: Plan, state: dict[str, Any]) -> Numbering:
        written = self._cluster.write_numbering(written, written.places, state)
        # Looked at anew: a change that was broken off here has some of it done.
        while (left := numbering.retirement(written.places, plan.shards, plan.replicas)).reassignments:
            written = self._reassign(written, left.reassignments[0], state)
        self._settle_in(written.places[: left.pods])
        if left.pods < len(written.places) or self._cluster.indexers().workload.wanted > left.pods:
            going = written.places[left.pods :]
            self._at(Step.RETIRE, f"{len(going)} pods go: {numbering.written(going)}")
            self._cluster.scale_indexers(left.pods)
            self._until(Step.RETIRE, lambda: self._leaving(left.pods))
        # Last: while one of the pods that go lives, its place is its own.
        return self._cluster.write_numbering(written, written.places[: left.pods], state)

    def _reassign(self, written: Numbering, change: Reassignment, state: dict[str, Any]) -> Numbering:
        before = written.places[change.ordinal]
        self._at(Step.RETIRE, f"indexer-{change.ordinal}, which was {before}, becomes {change.place}")
        written = self._cluster.write_numbering(written, numbering.reassigned(written.places, change), state)
        self._settle_in(written.places[: change.ordinal + 1])
        return written

    def _settle_in(self, places: Sequence[Place]) -> None:
        """Waits until the first pods are what is written, ending one that still is what it was before."""
        ended: dict[str, str] = {}

        def missing() -> str:
            status = self._index.status()
            told = {Place(one.shard, one.replica) for one in status.replicas if one.answers}
            # Somebody is what nobody is to be any more: the pod whose new place nobody has taken yet. Its environment
            # is that of its start. One started anew before the new place had come to its node is ended once more.
            if told - {*self._cluster.numbering().places}:
                for pod in self._cluster.pods():
                    late = 0 <= pod.ordinal < len(places) and places[pod.ordinal] not in told
                    if late and pod.ready and not pod.leaving and ended.get(pod.name) != pod.uid:
                        self._cluster.delete_pod(pod.name)
                        ended[pod.name] = pod.uid
            return _missing(places, status)

        self._until(Step.RETIRE, missing)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def _places(self, indexers: Indexers, written: Numbering) -> tuple[Place, ...]:
        """The places of the pods there are; those of a change that was broken off, as far as it had come."""
        pods = indexers.workload.wanted
        if not written.places:
            return numbering.by_number(pods, indexers.shards)
        if written.state is not None:
            return written.places
        return numbering.extended(written.places, pods)

    def _check_sound(self, indexers: Indexers, places: Sequence[Place], status: IndexStatus) -> None:
        workload = indexers.workload
        if not workload.rolled_out:
            raise Refused(
                f"The indexers are {workload.state}: {workload.ready} of {workload.wanted} pods are ready. Begin when "
                "all are (earmark k8s status)."
            )
        if not status.settled:
            raise Refused("Slots are on the move already: wait until earmark shards status says that nothing is.")
        told = {Place(one.shard, one.replica) for one in status.replicas if one.answers}
        if absent := sorted(set(places) - told):
            raise Refused(
                f"By their numbers the pods are {numbering.written(places)}, but nobody says of itself to be "
                f"{numbering.written(absent)}. Mend that first: earmark shards status says who does not answer."
            )

    def _missing(self, places: Iterable[Place]) -> str:
        workload = self._cluster.indexers().workload
        return _missing(places, self._index.status()) or (
            "" if workload.rolled_out else f"{workload.ready} of {workload.wanted} pods ready"
        )

    def _leaving(self, pods: int) -> str:
        present = self._cluster.indexers().workload.present
        return f"{present - pods} pods still end" if present > pods else ""

    def _until(self, step: Step, why_not: Callable[[], str]) -> None:
        """Waits until there is no reason left to wait."""
        said, since = "", self._clock()
        while True:
            try:
                why = why_not()
            except ConnectionFailed as error:
                why = f"the gateway does not answer ({error.message})"  # they come and go, too
            if not why:
                return
            if why != said:
                said, since = why, self._clock()
                self._say(f"{step}: {why}", True)
            elif self._clock() - since > self._patience:
                raise Refused(
                    f"Nothing has changed for {self._patience:g} s at the step {step}: {why}. What is done stays; run "
                    "it again when that is mended."
                )
            self._wait(self._look)

    def _at(self, step: Step, what: str) -> None:
        self._say(f"{step}: {what}", False)


def _total(moves: MovePlan) -> int | None:
    counts = [load.chunks for load in moves.before]
    return None if None in counts else sum(count for count in counts if count is not None)


def _missing(places: Iterable[Place], status: IndexStatus) -> str:
    """Says which replicas do not answer, or have not yet all that is theirs."""
    told = {Place(one.shard, one.replica): one for one in status.replicas if one.answers}
    late = [f"{place} {_lacks(told.get(place), status)}" for place in places if _lacks(told.get(place), status)]
    return ", ".join(late)


def _lacks(replica: Replica | None, status: IndexStatus) -> str:
    if replica is None:
        return "does not answer"
    if not replica.ready:
        return "is starting"
    slots = next((len(shard.slots) for shard in status.shards if shard.shard == replica.shard), 0)
    held = replica.slots_held or 0
    return f"holds {held} of {slots} slots" if held < slots else ""


def _not_settled(status: IndexStatus, shards: int) -> str:
    if not status.settled:
        if status.goal is None:
            return f"{len(status.moves)} slots left to end"
        waiting = f" ({'; '.join(status.goal.waiting)})" if status.goal.waiting else ""
        return f"{status.goal.slots_left} of {status.goal.slots_total} slots left{waiting}"
    there = status.shards_total
    return "" if there == shards else f"{there} shards, not {shards}: does somebody else scale them?"


def _slots(digests: IndexDigests) -> dict[int, tuple[int, str]]:
    """Count and digest of each slot, as the first of its replicas says."""
    return {slot: content for replica in reversed(digests.replicas) for slot, content in replica.slots.items()}


def _difference(digests: IndexDigests, status: IndexStatus, state: Mapping[str, Any]) -> str:
    """Says in what the replicas differ, from each other or from what there was; empty when in nothing."""
    if silent := [f"s{one.shard}r{one.replica} ({one.problem})" for one in digests.replicas if one.problem]:
        return f"not compared: {', '.join(silent)}"
    if status.shards_total != state["shards"]:
        return f"there are {status.shards_total} shards"
    model = _slots(digests)
    if len(model) < SLOTS:
        return f"{SLOTS - len(model)} slots are held by nobody"
    first: dict[int, str] = {}
    for replica in digests.replicas:
        name = f"s{replica.shard}r{replica.replica}"
        for slot, content in replica.slots.items():
            if content != model[slot]:
                return f"slot {slot} is not the same at {' and '.join(sorted({first[slot], name}))}"
            first.setdefault(slot, name)
    chunks, before = sum(count for count, _ in model.values()), state["chunks"]
    # Only while nothing has happened can their number be the same.
    if before is not None and digests.stream_sequence == state["sequence"] and chunks != before:
        return f"there were {before:,} chunks at the beginning, and are {chunks:,}"
    return ""
