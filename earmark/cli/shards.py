"""`earmark shards`: the parts of the index, and their slots on the move."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.markup import escape

from earmark.cli import common, rebuild_drill
from earmark.cli.format import seconds
from earmark.cli.shard_views import moves_table, plan_table, progress_line, shards_table
from earmark.client import Client, ConnectionFailed, EarmarkClientError
from earmark.client.index import IndexStatus, MovePlan

SLOTS = 256
EXIT_INTERRUPTED = 130
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 120.0

app = typer.Typer(help="The parts of the index: how they are, and how many there are.", no_args_is_help=True)

Count = Annotated[int, typer.Argument(min=1, max=SLOTS, metavar="N", help="Shards there are to be.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return at once; it goes on by itself.")]
SlotsAndRanges = Annotated[str, typer.Argument(metavar="SLOTS", help="Slots, e.g. `17` or `0-15,40`.")]
To = Annotated[int, typer.Option("--to", min=0, max=SLOTS - 1, help="The shard they are to go to.")]


@app.command()
def status(as_json: common.AsJson = False, url: common.Url = None, data_dir: common.Data = None) -> None:
    """Shows the shards, their replicas, and the slots that are on the move."""
    with common.connected(url, data_dir) as client:
        index = client.index.status()
    if as_json:
        common.print_json(index.raw)
        return
    common.print_table(shards_table(index))
    if index.settled:
        common.out.print(f"{_shards(index.shards_total)}, slot table {index.version}; nothing is on the move.")
        return
    common.out.print(progress_line(index))
    if index.moves:
        common.print_table(moves_table(index))
    _say_why_waiting(index)


@app.command()
def plan(  # noqa: PLR0917  (typer reads options off the parameters)
    shards: Annotated[
        int | None, typer.Argument(min=1, max=SLOTS, metavar="[N]", help="Shards there would be.")
    ] = None,
    slots: Annotated[str | None, typer.Option("--move", metavar="SLOTS", help="Slots that would move…")] = None,
    to: Annotated[int | None, typer.Option("--to", min=0, max=SLOTS - 1, help="…to this shard.")] = None,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Shows what `scale N`, or a `move`, would move. Changes nothing."""
    if (shards is None) == (slots is None) or (slots is None) != (to is None):
        common.fail("Say either how many shards there would be, or --move SLOTS --to SHARD.")
    with common.connected(url, data_dir) as client:
        if shards is not None:
            planned = client.index.plan(shards=shards)
        else:
            assert slots is not None
            assert to is not None
            planned = client.index.plan(moves=[(parse_slots(slots), to)])
    if as_json:
        common.print_json(planned.raw)
        return
    _say_plan(planned)


@app.command()
def scale(
    shards: Count,
    detach: Detach = False,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Spreads the index over N shards while searches and ingest go on, and shows how far it is.

    Can be interrupted, and run again: the mesh goes on by itself.
    """
    with common.connected(url, data_dir) as client:
        planned = client.index.scale(shards)
        _carry_out(client, planned, f"earmark shards scale {shards}", detach=detach, as_json=as_json)


@app.command()
def move(  # noqa: PLR0917
    slots: SlotsAndRanges,
    to: To,
    detach: Detach = False,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Moves slots to another shard while searches and ingest go on, and shows how far it is."""
    with common.connected(url, data_dir) as client:
        planned = client.index.move(parse_slots(slots), to)
        _carry_out(client, planned, f"earmark shards move {slots} --to {to}", detach=detach, as_json=as_json)


@app.command()
def cancel(as_json: common.AsJson = False, url: common.Url = None, data_dir: common.Data = None) -> None:
    """Calls off what has not changed over yet. Slots that have stay where they are now."""
    with common.connected(url, data_dir) as client:
        called_off = client.index.cancel()
    if as_json:
        common.print_json({"called_off": called_off})
    else:
        common.out.print(
            f"Called off; {called_off} slots were being copied. `earmark shards status` shows what is left."
        )


@app.command()
def rebuild(  # noqa: PLR0917
    everything: Annotated[bool, typer.Option("--all", help="Every replica of every shard.")] = False,
    shard: Annotated[int | None, typer.Option(min=0, max=SLOTS - 1, help="Only this shard.")] = None,
    replica: Annotated[int | None, typer.Option(min=0, help="Only this replica of it.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Questions asked before and after: JSON as samples/questions.json, or one a line."
            " [default: those of the samples, else the titles of videos]",
            metavar="FILE",
        ),
    ] = None,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Builds replicas anew from the documents, one after another, and proves that they answer as before.

    Ends with 1 when an answer or what a replica holds is another than before.
    """
    if everything == (shard is not None) or (replica is not None and shard is None):
        common.fail("Say either --all or --shard N, the latter with --replica M if only one is meant.")
    with common.connected(url, data_dir) as client:
        report = rebuild_drill.run(client, shard=shard, replica=replica, queries=queries, quiet=as_json)
    if as_json:
        common.print_json(report.as_json())
    else:
        rebuild_drill.say(report)
    if not report.same:
        raise typer.Exit(common.EXIT_FAILED)


def parse_slots(text: str) -> list[int]:
    """Reads `0-15,40`; ends the command when it is something else."""
    slots: set[int] = set()
    for part in filter(None, (one.strip() for one in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            common.fail(f"{part!r} is no slot and no range of slots, such as 17 or 0-15.")
        if dash and int(first) > int(last):
            common.fail(f"{part!r} is no range of slots: a range goes from the lower to the higher slot.")
        slots |= set(range(int(first), int(last or first) + 1)) if int(last or first) < SLOTS else {SLOTS}
    if not slots or max(slots) >= SLOTS:
        common.fail(f"Slots are 0 to {SLOTS - 1}.")
    return sorted(slots)


def _carry_out(client: Client, planned: MovePlan, command: str, *, detach: bool, as_json: bool) -> None:
    if not as_json:
        _say_plan(planned)
    index: IndexStatus | None = None
    if not detach:
        begun = time.monotonic()
        try:
            index = _follow(client, quiet=as_json)
        except KeyboardInterrupt:
            common.err.print(
                "\nIt goes on by itself. Look at it with `earmark shards status`, follow it again with"
                f" `{command}`, call it off with `earmark shards cancel`.",
                markup=False,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
        if not as_json:
            common.out.print(
                f"[green]✓[/] {_shards(index.shards_total)}, every slot in its place, after"
                f" {seconds(time.monotonic() - begun)}."
            )
    elif not as_json:
        common.out.print("It goes on by itself: `earmark shards status`.")
    if as_json:
        result: dict[str, Any] = {"plan": planned.raw}
        common.print_json(result if index is None else {**result, "index": index.raw})


def _follow(client: Client, *, quiet: bool) -> IndexStatus:
    """Looks until every slot is where it is wanted, showing how far it is; gives what there is then."""
    said = ""
    away_since: float | None = None
    interactive = common.interactive() and not quiet
    with common.out.status("looking") if interactive else _Nothing() as spinner:
        while True:
            try:
                index = client.index.status()
            except EarmarkClientError as error:
                # Gateways come and go while one scales; it is said, and waited for.
                away_since = away_since or time.monotonic()
                if not isinstance(error, ConnectionFailed) or time.monotonic() - away_since > _PATIENCE_SECONDS:
                    raise
                line = "the gateway does not answer; waiting for it"
            else:
                away_since = None
                if index.settled:
                    return index
                line = progress_line(index)
            if interactive:
                spinner.update(line)
            elif line != said and not quiet:
                common.out.print(line)
            said = line
            threading.Event().wait(_LOOK_SECONDS)


class _Nothing:
    """Stands for the spinner where nobody watches."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""

    def update(self, line: str) -> None:
        """Does nothing."""


def _shards(count: int) -> str:
    return f"{count} shard" if count == 1 else f"{count} shards"


def _say_plan(planned: MovePlan) -> None:
    if not planned.slots:
        common.out.print("No slot has to move.")
        return
    common.print_table(plan_table(planned))
    chunks = "" if planned.chunks is None else f" with {planned.chunks:,} chunks"
    common.out.print(f"{planned.slots} slots{chunks} move.")


def _say_why_waiting(index: IndexStatus) -> None:
    for reason in index.goal.waiting if index.goal else ():
        common.err.print(f"[yellow]![/] {escape(reason)}")
