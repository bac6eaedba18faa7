"""How workloads, pods and a planned change are shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from earmark.cli.format import state
from earmark.client.index import IndexStatus, Replica
from earmark.k8s import places as numbering
from earmark.k8s.places import Place
from earmark.k8s.rollout import Pod, Workload
from earmark.k8s.scaling import Plan


def workloads_table(workloads: Sequence[Workload]) -> Table:
    """One row for each Deployment and StatefulSet."""
    table = _table("Workload", "Kind", "Ready", "Updated", "Rollout", "Version")
    for column in (2, 3):
        table.columns[column].justify = "right"
    for workload in workloads:
        versions = sorted({image.rpartition(":")[2] for image in workload.images if ":" in image})
        table.add_row(
            workload.name,
            workload.kind,
            f"{workload.ready}/{workload.wanted}",
            f"{workload.updated}/{workload.wanted}",
            _shown(workload.state, done=workload.rolled_out),
            ", ".join(versions) or "-",
        )
    return table


def pods_table(pods: Sequence[Pod], places: Sequence[Place], index: IndexStatus | None) -> Table:
    """One row for each indexer: its place, and what whoever is at that place says."""
    table = _table("Pod", "Node", "Pod is", "Shard", "Replica", "Slots", "Index is", "Chunks", "Lag", "Restarts")
    for column in (3, 4, 5, 7, 8, 9):
        table.columns[column].justify = "right"
    told = {(one.shard, one.replica): one for one in index.replicas} if index is not None else {}
    slots = {shard.shard: len(shard.slots) for shard in index.shards} if index is not None else {}
    for pod in pods:
        place = places[pod.ordinal] if 0 <= pod.ordinal < len(places) else None
        replica = told.get((place.shard, place.replica)) if place is not None else None
        table.add_row(
            pod.name,
            pod.node or "-",
            _shown(pod.state, done=pod.ready),
            *((str(place.shard), str(place.replica)) if place is not None else ("-", "-")),
            str(slots[place.shard]) if place is not None and place.shard in slots else "-",
            _index_state(replica),
            _count(replica.chunk_count if replica is not None else None),
            _count(replica.lag if replica is not None else None),
            str(pod.restarts),
        )
    return table


def plan_text(plan: Plan) -> str:
    """What a change would do, a line a step."""
    if plan.idle:
        return "Nothing to do."
    new = plan.grown[len(plan.places) :]
    going = plan.grown[plan.retirement.pods :]
    chunks = "" if plan.chunks is None else f" with {plan.chunks:,} chunks"
    lines = [
        f"From {plan.shards_before} to {plan.shards} shards of {plan.replicas} replicas, while searches go on:",
        f"  pin     {len(plan.places)} pods keep their places: {numbering.written(plan.places)}",
        f"  grow    {f'{len(new)} new pods: {numbering.written(new)}' if new else 'no new pods'}",
        f"  move    {plan.slots} slots{chunks}",
        f"  verify  every replica of {plan.shards} shards counts and hashes its slots",
        *(f"  retire  indexer-{change.ordinal} becomes {change.place}" for change in plan.retirement.reassignments),
        f"  retire  {f'{len(going)} pods go, the last ones' if going else 'no pod goes'}",
        f"Then there are {plan.retirement.pods} pods: {numbering.written(plan.final)}",
    ]
    if plan.step is not None:
        lines.insert(1, f"  (it is under way, at the step {plan.step})")
    return "\n".join(lines)


def _index_state(replica: Replica | None) -> Text:
    if replica is None:
        return Text("-")
    if not replica.answers:
        return state("failed")
    return state("ready" if replica.ready else "starting")


def _shown(word: str, *, done: bool) -> Text:
    return Text(word, style="green" if done else "red" if word == "stuck" else "yellow")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table
