"""`earmark ingest`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.markup import escape

from earmark.cli import common
from earmark.cli.ingest_views import LineView, LiveView
from earmark.cli.ingesting import Outcome, ingest_all
from earmark.cli.media import NoSuchSource, Source, sources
from earmark.client import AsyncClient


def ingest(  # noqa: PLR0917  (typer reads options off the parameters)
    what: Annotated[list[str], typer.Argument(metavar="PATH|URL…", help="Files, folders (searched deeply), URLs.")],
    title: Annotated[str, typer.Option(help="Title of the video, when there is just one.")] = "",
    collection: Annotated[str, typer.Option(help="The collection they belong to.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for all of them; may be given often.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the videos are searchable.")] = True,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Adds videos and shows how far each is, until they are searchable.

    Ends with 1 when any of them failed.
    """
    try:
        wanted = sources(what)
    except NoSuchSource as error:
        common.fail(str(error), code=2)
    if title and len(wanted) > 1:
        common.fail(f"--title is for one video; these are {len(wanted)}.", code=2)
    if title:
        wanted = [replace(wanted[0], title=title)]
    wanted = [replace(source, collection=collection, tags=tuple(tag or ())) for source in wanted]
    outcomes = ingest_with_view(common.gateway_url(url, data_dir), wanted, wait=wait)
    bad = [outcome for outcome in outcomes if not outcome.well]
    for outcome in outcomes:
        for warning in outcome.warnings:
            common.out.print(f"[yellow]![/] {escape(outcome.source.label)}: {escape(warning)}")
    if len(outcomes) > 1 or bad:
        common.out.print(f"{len(outcomes) - len(bad)} of {len(outcomes)} videos went well.")
    if bad:
        raise typer.Exit(common.EXIT_FAILED)


def ingest_with_view(url: str, wanted: Sequence[Source], *, wait: bool = True) -> list[Outcome]:
    """Ingests with bars on a terminal, with lines elsewhere."""

    async def go() -> list[Outcome]:
        async with AsyncClient(url) as client:
            with LiveView(common.out) if common.interactive() else LineView(common.out) as view:
                return await ingest_all(client, wanted, view, wait=wait)

    return asyncio.run(go())
