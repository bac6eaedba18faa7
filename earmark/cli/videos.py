"""`earmark ls`, `show`, `transcript`, `edit`, `retry` and `rm`."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from earmark.cli import common
from earmark.cli.format import clock, size, state
from earmark.client import Client, NotFound, Video, VideoStatus
from earmark.client.calls import SuspectSegments

_FOR_GOOD = {
    "EMPTY_FILE", "NOT_MEDIA", "INCOMPLETE_MEDIA", "NO_AUDIO_TRACK", "EMPTY_AUDIO_TRACK", "UNSUPPORTED_CODEC",
    "DAMAGED_AUDIO", "MEDIA_TOO_LONG", "DECODING_TOO_COSTLY", "MEDIA_TOO_LARGE", "MEDIA_UNREADABLE",
}  # fmt: skip
"""Reasons of failure that lie in the media itself, so that trying again comes to the same."""


class Suspect(StrEnum):
    """What becomes of what likely nobody said."""

    INCLUDE = "include"
    EXCLUDE = "exclude"


class Format(StrEnum):
    """A form of a transcript."""

    TXT = "txt"
    VTT = "vtt"
    SRT = "srt"
    JSON = "json"


def list_videos(
    only: Annotated[str | None, typer.Option("--status", help="Only those that are ready, processing, failed…")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Lists the videos, newest first."""
    with common.connected(url, data_dir) as client:
        videos = list(islice(client.list(status=only, page_size=min(limit + 1, 100)), limit + 1))
    more, videos = len(videos) > limit, videos[:limit]
    if as_json:
        common.print_json([video.raw for video in videos])
        return
    if not videos:
        common.out.print("No videos yet: `earmark ingest PATH`." if only is None else f"No videos are {only}.")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("Id", "Title", "State"):
        table.add_column(name, no_wrap=name == "Id")
    table.add_column("Length", justify="right")
    table.add_column("Language")
    table.add_column("Uploaded", no_wrap=True)
    for video in videos:
        uploaded = video.metadata.uploaded_at
        table.add_row(
            video.video_id,
            Text(video.title),
            _state(video),
            clock(video.duration),
            video.metadata.language or "-",
            uploaded.astimezone().strftime("%Y-%m-%d %H:%M") if uploaded else "-",
        )
    common.print_table(table)
    if more:
        common.out.print(f"[dim]Only the newest {limit}: --limit shows more.[/]")


def show(
    video_id: common.VideoId, as_json: common.AsJson = False, url: common.Url = None, data_dir: common.Data = None
) -> None:
    """Shows one video: what it is, how far it is, and what went wrong."""
    with common.connected(url, data_dir) as client:
        video, status = client.get(video_id), client.status(video_id)
    if as_json:
        common.print_json({**video.raw, "slices": status.raw.get("slices", [])})
        return
    common.print_table(_facts(video))
    if status.slices:
        common.print_table(_slices(status))
    for warning in video.warnings:
        common.out.print(f"[yellow]![/] {escape(warning.message)} [dim]({escape(warning.reason)})[/]")
    if video.error:
        where = f" in slice {video.error.slice_id}" if video.error.slice_id else ""
        common.out.print(
            f"[red]✗[/] {escape(video.error.message)} [dim]({video.error.stage}{where}: {video.error.reason})[/]"
        )
        if video.error.reason not in _FOR_GOOD:
            common.out.print(f"  `earmark retry {video.video_id}` does what is missing once more.")


def transcript(  # noqa: PLR0917  (typer reads options off the parameters)
    video_id: common.VideoId,
    form: Annotated[
        Format, typer.Option("--format", "-f", help="Plain text, captions, or words with times.")
    ] = Format.TXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    words: Annotated[bool, typer.Option("--words", help="With vtt: the time of each word too.")] = False,
    original: Annotated[bool, typer.Option("--original", help="What was heard, before anybody edited it.")] = False,
    suspect: Annotated[
        Suspect | None,
        typer.Option(help="What likely nobody said. [default: in json, with the reason, and in nothing else]"),
    ] = None,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Prints what was said."""
    shown: SuspectSegments | None = suspect.value if suspect else None
    with common.connected(url, data_dir) as client:
        if form is Format.JSON:
            import json

            found = client.transcript(video_id, original=original, suspect=shown)
            text = json.dumps(found.raw, indent=2, ensure_ascii=False)
        else:
            text = client.captions(video_id, form.value, words=words, original=original, suspect=shown)  # type: ignore[arg-type]
    text = text.rstrip("\n") + "\n"
    if output:
        output.write_text(text)
    else:
        print(text, end="")


def edit(  # noqa: PLR0917  (typer reads options off the parameters)
    video_id: common.VideoId,
    title: Annotated[str | None, typer.Option(help="New title.")] = None,
    collection: Annotated[
        str | None, typer.Option(help="New collection; an empty one takes the video out of its own.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="New tags, in place of all it had; an empty one takes all away.")
    ] = None,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Changes title, collection or tags of a video; what is not named stays."""
    if title is None and collection is None and tag is None:
        common.fail("Nothing is to change: give --title, --collection or --tag.", code=2)
    tags = None if tag is None else [one for one in tag if one.strip()]
    with common.connected(url, data_dir) as client:
        video = client.update_video(video_id, title=title, collection=collection, tags=tags)
    if as_json:
        common.print_json(video.raw)
        return
    common.print_table(_facts(video))


def retry(video_id: common.VideoId, url: common.Url = None, data_dir: common.Data = None) -> None:
    """Does once more what failed of a video, and only that."""
    with common.connected(url, data_dir) as client:
        video = client.retry(video_id)
    common.out.print(f"{escape(video.title)} is {video.status} again: `earmark show {video.video_id}`.")


def remove(  # noqa: PLR0917  (typer reads options off the parameters)
    video_ids: Annotated[list[str], typer.Argument(metavar="VIDEO_ID…", help="As `earmark ls` shows them.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    now: Annotated[bool, typer.Option("--now", help="For good: they cannot be restored.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="With --now: wait until everything is gone.")] = True,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Removes videos: from search and lists at once, then transcript, media and all.

    For a while `earmark restore` brings them back.
    """
    missing = False
    ending = " for good" if now else ""
    with common.connected(url, data_dir) as client:
        for video_id in video_ids:
            try:
                video = client.get(video_id)
                if not yes and not typer.confirm(f"Remove “{video.title}” ({clock(video.duration)}){ending}?"):
                    common.out.print("Kept.")
                    continue
                gone = client.delete(video_id, now=now).restorable_until is None
                if wait and gone:
                    _wait_until_gone(client, video_id)
            except NotFound as error:
                common.err.print(f"[red]✗[/] {escape(error.message)}")
                missing = True
            else:
                said = "Removed" if wait or not gone else "Removing"
                back = "" if gone else f" `earmark restore {video_id}` brings it back for a while."
                common.out.print(f"{said} {escape(video.title)}.{back}")
    if missing:
        raise typer.Exit(common.EXIT_FAILED)


def restore(video_id: common.VideoId, url: common.Url = None, data_dir: common.Data = None) -> None:
    """Brings a video back that was removed a moment ago."""
    with common.connected(url, data_dir) as client:
        video = client.restore(video_id)
    common.out.print(f"{escape(video.title)} is back, and is {video.status}: `earmark show {video.video_id}`.")


def _wait_until_gone(client: Client, video_id: str) -> None:
    with suppress(NotFound):  # gone before the watch began
        for _ in client.watch(video_id):
            pass


def _state(video: Video) -> Text:
    text = state(video.status)
    if not video.settled and video.progress.fraction is not None:
        text.append(f" {video.progress.fraction:.0%}")
    return text


def _facts(video: Video) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")  # nothing of an id, a hash or a link may be left out
    meta, source = video.metadata, video.source
    facts: dict[str, str | Text] = {
        "id": video.video_id,
        "title": Text(video.title, style="bold"),
        "state": _state(video),
        "length": clock(video.duration),
        "file": _file(video),
        "sha256": source.sha256 or "",
        "from": Text(video.url) if video.url else "",
        "collection": Text(video.collection),
        "tags": Text(", ".join(video.tags)),
        "language": meta.language or "-",
        "models": f"{meta.asr_model or '-'}, {meta.embedding_model or '-'}",
        "uploaded": meta.uploaded_at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if meta.uploaded_at else "-",
        "ready": meta.processed_at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if meta.processed_at else "-",
        "page": video.links.get("page", ""),
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    return table


def _file(video: Video) -> Text:
    source = video.source
    if "media" not in video.links and source.bytes is None:
        return Text("none: made of a transcript, there is nothing to play")
    return Text(f"{source.filename or '-'}, {size(source.bytes)}, {source.content_type or '-'}")


def _slices(status: VideoStatus) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("Slice", "From", "To", "State", "Attempts"):
        table.add_column(name, justify="left" if name in ("Slice", "State") else "right")
    for part in status.slices:
        table.add_row(
            part.slice_id, clock(part.start_time), clock(part.end_time), state(part.state), str(part.attempts)
        )
    return table
