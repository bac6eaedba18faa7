"""`earmark ingest`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from earmark.cli import common
from earmark.cli.ingest_views import LineView, LiveView
from earmark.cli.ingesting import Outcome, ingest_all
from earmark.cli.media import NoSuchSource, Source, sources
from earmark.client import AsyncClient, SpeechOptions


class Task(StrEnum):
    """What a recognizer makes of speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def ingest(  # noqa: PLR0917  (typer reads options off the parameters)
    what: Annotated[list[str], typer.Argument(metavar="PATH|URL…", help="Files, folders (searched deeply), URLs.")],
    title: Annotated[str, typer.Option(help="Title of the video, when there is just one.")] = "",
    collection: Annotated[str, typer.Option(help="The collection they belong to.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for all of them; may be given often.")] = None,
    language: Annotated[str, typer.Option(help="Language spoken, as en or de; detected when not given.")] = "",
    prompt: Annotated[
        str, typer.Option(help="Text as it might stand before the speech: names and spelling in it are kept to.")
    ] = "",
    hotwords: Annotated[str, typer.Option(help="Words to be expected, such as names and products.")] = "",
    task: Annotated[Task, typer.Option(help="translate gives the text in English.")] = Task.TRANSCRIBE,
    captions: Annotated[
        Path | None,
        typer.Option(
            help="Its transcript, a .vtt, .srt or .json file: then nothing is heard. For just one file.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
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
    if captions and (len(wanted) > 1 or wanted[0].path is None):
        common.fail("--captions is for one file; put the transcripts of others with `earmark transcript put`.", code=2)
    speech = SpeechOptions(language=language, prompt=prompt, hotwords=hotwords, task=task.value)
    wanted = [
        replace(
            source,
            title=title,
            collection=collection,
            tags=tuple(tag or ()),
            speech=speech,
            captions=captions.read_bytes() if captions else None,
        )
        for source in wanted
    ]
    key = common.api_key(url, data_dir)
    outcomes = ingest_with_view(common.gateway_url(url, data_dir), wanted, key=key, wait=wait)
    bad = [outcome for outcome in outcomes if not outcome.well]
    for outcome in outcomes:
        for warning in outcome.warnings:
            common.out.print(f"[yellow]![/] {escape(outcome.source.label)}: {escape(warning)}")
    if len(outcomes) > 1 or bad:
        common.out.print(f"{len(outcomes) - len(bad)} of {len(outcomes)} videos went well.")
    if bad:
        raise typer.Exit(common.EXIT_FAILED)


def ingest_with_view(url: str, wanted: Sequence[Source], *, key: str, wait: bool = True) -> list[Outcome]:
    """Ingests with bars on a terminal, with lines elsewhere."""

    async def go() -> list[Outcome]:
        async with AsyncClient(url, key=key) as client:
            with LiveView(common.out) if common.interactive() else LineView(common.out) as view:
                return await ingest_all(client, wanted, view, wait=wait)

    return asyncio.run(go())
