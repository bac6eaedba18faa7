"""`earmark plan`: what a mesh of a size takes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from earmark.cli import common
from earmark.plan import Constants, ConstantsInvalid, Demand, Plan
from earmark.plan import plan as reckon

MOST_HOURS = 1e9


def plan(
    *,
    hours: Annotated[float, typer.Option(min=0.01, max=MOST_HOURS, help="hours of video the mesh holds")],
    qps: Annotated[float, typer.Option(min=0.0, max=1e6, help="searches a second at the peak")] = 1.0,
    new_hours: Annotated[float, typer.Option(min=0.0, help="hours that come in a month afterwards")] = 0.0,
    backfill_days: Annotated[float, typer.Option(min=0.01, help="days in which the archive is taken in")] = 30.0,
    cpu: Annotated[bool, typer.Option("--cpu", help="recognize speech on CPUs, not on GPUs")] = False,
    no_media: Annotated[bool, typer.Option("--no-media", help="transcripts only: no media are kept")] = False,
    constants: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="your constants and prices, in place of ours")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Reckon shards, pods, memory, disk, GPU hours and cost for a size, from measured constants (docs/sizing.md)."""
    try:
        known = Constants.read(constants) if constants else Constants.read()
    except ConstantsInvalid as error:
        common.fail(str(error))
    demand = Demand(
        hours=hours,
        qps=qps,
        new_hours_per_month=new_hours,
        backfill_days=backfill_days,
        gpu=not cpu,
        media=not no_media,
    )
    found = reckon(demand, known)
    if as_json:
        print(json.dumps({**dataclasses.asdict(found), "monthly_total": found.monthly_total}, indent=2))
        return
    _show(demand, found)


def _show(demand: Demand, found: Plan) -> None:
    common.out.print(
        f"{demand.hours:,.0f} hours, {found.chunks:,.0f} chunks: {found.shards} x {found.replicas} indexers, "
        f"{found.chunks_per_shard:,.0f} chunks a shard. A search takes {found.search_core_ms:,.0f} ms of processor "
        f"in all, {found.slowest_shard_ms:.1f} at each shard."
    )
    table = Table("workload", box=None)
    for title in ("pods", "cores", "GiB", "disk GiB", "GPUs"):
        table.add_column(title, justify="right")
    table.add_column("why")
    for part in found.parts:
        table.add_row(
            part.name,
            str(part.pods),
            f"{part.cores:g}",
            f"{part.memory_gib:,.1f}",
            f"{part.disk_gib:,.0f}" if part.disk_gib else "",
            str(part.gpus or ""),
            part.why,
        )
    table.add_row(
        "in all",
        f"{sum(part.pods for part in found.parts):,}",
        *(f"{found.total(what):,.0f}" for what in ("cores", "memory_gib", "disk_gib", "gpus")),
        style="bold",
    )
    common.print_table(table)
    common.out.print(
        f"Object store: {found.object_gib:,.0f} GiB. A replica from nothing: {found.rebuild_hours:,.1f} hours."
    )
    taken = f"{found.backfill_gpu_hours:,.0f} GPU hours and " if demand.gpu else ""
    common.out.print(
        f"To take it in: {taken}{found.backfill_core_hours:,.0f} core hours, once, about ${found.backfill_cost:,.0f}; "
        f"{found.backfill_pods:,} recognizers for {demand.backfill_days:g} days."
    )
    kinds = ", ".join(f"{name} ${value:,.0f}" for name, value in found.monthly.items() if value)
    common.out.print(f"A month: about [bold]${found.monthly_total:,.0f}[/bold] ({kinds}).")
    for line in found.beyond_measured:
        common.out.print(f"Not measured: {line}.")
