"""`earmark search`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape
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
        _print_hits(result, more=more, full=full)
    _coverage(result)
    if result.hits:
        timing = result.timing
        common.out.print(
            f"[dim]{timing.total_ms:.1f} ms: {timing.embed_ms:.1f} embedding, {timing.shards_ms:.1f} in"
            f" {result.coverage.shards_answered} shards, {timing.fuse_ms:.1f} fusing[/]"
        )


def _print_hits(result: SearchResult, *, more: bool, full: bool) -> None:
    """Prints the answer: of each hit rank, title and time, the text with marked words, and the link."""
    indent = len(str(len(result.hits))) + 1
    for rank, hit in enumerate(result.hits, 1):
        head = Text.assemble((f"{rank:>{indent - 1}}", "dim"), " ", (hit.title, "bold"), "  ")
        _print_moment(head, hit, indent=indent, full=full)
        for other in hit.more if more else ():
            _print_moment(Text(" " * indent), other, indent=indent, full=full)


def _print_moment(head: Text, hit: Hit, *, indent: int, full: bool) -> None:
    # From the sentence on that the time is of, not from where the text begins, up to half a minute before it.
    begin = hit.sentence.start if hit.sentence else None
    common.print_line(head.append(clock(hit.match_time), "cyan"))
    common.print_line(marked(hit.text, hit.highlights, width=0 if full else 200, begin=begin), indent=indent)
    if link := hit.links.get("page", ""):
        # Whole at any width: cut or broken by a line's end it could be neither clicked nor copied.
        common.out.print(Text.assemble(" " * indent, (link, f"dim link {link}")), soft_wrap=True)


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
