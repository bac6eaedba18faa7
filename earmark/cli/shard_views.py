"""How shards, plans and moves are shown."""

from __future__ import annotations

from collections import Counter, defaultdict

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from earmark.cli.format import size, state
from earmark.client.index import IndexStatus, MovePlan, Replica


def shards_table(index: IndexStatus) -> Table:
    """One row a replica. Where it listens is in the JSON: addresses make rows wrap."""
    table = _table("Shard", "Slots", "Replica", "State", "Chunks", "Parts", "Lag", "Memory", "Trouble")
    for column in (1, 4, 5, 6, 7):
        table.columns[column].justify = "right"
    table.columns[8].overflow = "fold"
    for heading in table.columns[:8]:
        heading.no_wrap = True
    for shard in index.shards:
        slots = str(len(shard.slots))
        if not shard.replicas:
            table.add_row(str(shard.shard), slots, "-", state("none"), *["-"] * 4, "no indexer has announced itself")
        for number, replica in enumerate(shard.replicas):
            first = (str(shard.shard), slots) if number == 0 else ("", "")
            table.add_row(*first, replica.name, _state(replica), *_figures(replica), _trouble(replica))
    return table


def moves_table(index: IndexStatus) -> Table:
    """One row for the moves from one shard to another in the same phase, for the same reason."""
    groups: dict[tuple[int, int, str, str], list[int]] = defaultdict(list)
    for move in index.moves:
        groups[move.source, move.target, move.phase, move.reason].append(move.slot)
    table = _table("From", "To", "Phase", "Slots", "Why not yet")
    table.columns[4].overflow = "fold"
    for (source, target, phase, reason), slots in sorted(groups.items()):
        table.add_row(str(source), str(target), phase, ranges(slots), Text(reason or "-"))
    return table


def plan_table(plan: MovePlan) -> Table:
    """What each shard carries before and after."""
    table = _table("Shard", "Slots", "", "after", "Chunks", "", "after")
    for column in (1, 3, 4, 6):
        table.columns[column].justify = "right"
    before = {load.shard: load for load in plan.before}
    after = {load.shard: load for load in plan.after}
    for shard in sorted({*before, *after}):
        old, new = before.get(shard), after.get(shard)
        table.add_row(
            str(shard),
            str(old.slots) if old else "-",
            "→",
            str(new.slots) if new else "-",
            _count(old.chunks if old else None),
            "→",
            _count(new.chunks if new else None),
        )
    return table


def progress_line(index: IndexStatus) -> str:
    """How far the moves are, in a line of markup."""
    phases = Counter(move.phase for move in index.moves)
    doing = [f"{phases[phase]} {phase}" for phase in ("copying", "draining") if phases[phase]]
    reasons = [
        *(index.goal.waiting if index.goal else ()),
        *sorted({move.reason for move in index.moves if move.reason}),
    ]
    if index.goal is None:
        told = "the last slots"
    else:
        done = max(index.goal.slots_total - index.goal.slots_left, 0)
        told = f"{done} of {index.goal.slots_total} slots in place" if index.goal.slots_total else "ending"
    line = ", ".join([told, *doing])
    return f"{line} [dim]({escape(reasons[0])})[/]" if reasons else line


def ranges(slots: list[int]) -> str:
    """Slots as people write them, e.g. `0-15,40`."""
    parts: list[list[int]] = []
    for slot in sorted(slots):
        if parts and parts[-1][-1] == slot - 1:
            parts[-1][1:] = [slot]
        else:
            parts.append([slot])
    return ",".join("-".join(map(str, part)) for part in parts)


def _figures(replica: Replica) -> tuple[str, str, str, str]:
    parts = str(replica.segments) if replica.answers else "-"
    return _count(replica.chunk_count), parts, _count(replica.lag), size(replica.resident_bytes)


def _state(replica: Replica) -> Text:
    if not replica.answers:
        return state("failed")
    if replica.rebuilding:
        return state("rebuilding")
    return state("ready" if replica.ready else "starting")


def _trouble(replica: Replica) -> Text:
    said = [*replica.trouble, *(f"repaired: {part}" for part in replica.repaired)]
    return Text(replica.problem or "; ".join(said) or "-")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name)
    return table
