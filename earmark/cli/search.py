"""`earmark search`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from earmark.cli import common
from earmark.cli.format import clock, marked
from earmark.client import Hit, SearchResult


class Mode(StrEnum):
    """Which legs of the search run."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


def search(  # noqa: PLR0917  (typer reads options off the parameters)
    query: Annotated[str, typer.Argument(help='What to look for; words in "double quotes" next to each other.')],
    mode: Annotated[Mode, typer.Option(help="By meaning, by words, or both.")] = Mode.HYBRID,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many videos at most.")] = 10,
    video: Annotated[list[str] | None, typer.Option(help="Only this video; repeatable.", metavar="VIDEO_ID")] = None,
    language: Annotated[str | None, typer.Option(help="Only speech in this language, e.g. en.")] = None,
    collection: Annotated[list[str] | None, typer.Option(help="Only this collection; repeated, one of these.")] = None,
    speaker: Annotated[list[str] | None, typer.Option(help="Only this speaker; repeated, one of these.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag; repeated, every one of these.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only uploaded then or later, e.g. 2026-11-01.", metavar="DATE")
    ] = None,
    before: Annotated[str | None, typer.Option(help="Only uploaded earlier.", metavar="DATE")] = None,
    min_duration: Annotated[float | None, typer.Option(help="Only videos at least so long.", metavar="SECONDS")] = None,
    max_duration: Annotated[float | None, typer.Option(help="Only videos at most so long.", metavar="SECONDS")] = None,
    min_token: Annotated[
        list[str] | None,
        typer.Option(help="Wait for what this index token of a video stands for; repeatable.", metavar="TOKEN"),
    ] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where an answer said (next_cursor).")] = None,
    more: Annotated[bool, typer.Option("--more", help="Also the further moments of each video.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The whole text of each moment.")] = False,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Finds where something is said."""
    with common.connected(url, data_dir) as client:
        result = client.search(
            query,
            limit=limit,
            cursor=cursor,
            mode=mode.value,
            video_ids=video or (),
            language=language,
            collections=collection or (),
            speakers=speaker or (),
            tags=tag or (),
            uploaded_since=since,
            uploaded_before=before,
            min_duration=min_duration,
            max_duration=max_duration,
            min_tokens=min_token or (),
        )
    if as_json:
        common.print_json(result.raw)
        return
    if not result.hits:
        common.out.print("Nothing found.")
    else:
        common.out.print(hits_table(result, more=more, full=full))
    _coverage(result)
    if result.hits:
        timing = result.timing
        common.out.print(
            f"[dim]{timing.total_ms:.1f} ms: {timing.embed_ms:.1f} embedding, {timing.shards_ms:.1f} in"
            f" {result.coverage.shards_answered} shards, {timing.fuse_ms:.1f} fusing[/]"
        )


def hits_table(result: SearchResult, *, more: bool = False, full: bool = False) -> Table:
    """The answer as a table: rank, title, time, text with marked words and link."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("#", justify="right", style="dim")
    table.add_column("Video", min_width=12, max_width=28)
    table.add_column("At", justify="right", style="cyan")
    table.add_column("What is said", ratio=1)
    for rank, hit in enumerate(result.hits, 1):
        table.add_row(str(rank), Text(hit.title), clock(hit.match_time), _text(hit, full=full))
        for other in hit.more if more else ():
            table.add_row("", "", clock(other.match_time), _text(other, full=full))
    return table


def _text(hit: Hit, *, full: bool) -> Text:
    text = marked(hit.text, hit.highlights, width=0 if full else 200)
    link = hit.links.get("page", "")
    return Text.assemble(text, "\n", (link, f"dim link {link}")) if link else text


def _coverage(result: SearchResult) -> None:
    coverage = result.coverage
    if not coverage.tokens_reached:
        common.err.print("[yellow]Not all that the index tokens stand for is in yet;[/] ask again shortly.")
    if coverage.complete:
        return
    missing = ", ".join(f"shard {shard.shard} ({shard.reason})" for shard in coverage.missing)
    common.err.print(
        f"[yellow]The answer may lack hits:[/] {coverage.shards_answered} of {coverage.shards_total} shards answered"
        + (f"; missing: {escape(missing)}" if missing else f"; only by {escape(', '.join(coverage.legs) or 'nothing')}")
    )
