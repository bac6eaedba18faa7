"""`earmark transcript put` and `earmark transcript edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from earmark.cli import common
from earmark.cli.videos import transcript
from earmark.client import Client, VideoStatus
from earmark.client.calls import TranscriptFormat
from earmark.client.results import READY

_FORMS: dict[str, TranscriptFormat] = {".vtt": "vtt", ".srt": "srt", ".json": "json"}


class _Group(TyperGroup):
    """Prints a transcript where no other command is named: `earmark transcript ID`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["get", *args]
        return super().parse_args(ctx, args)


transcripts = typer.Typer(cls=_Group, no_args_is_help=True, help="Prints what was said; puts and corrects it.")
transcripts.command("get")(transcript)

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until the change is searchable, and print the video's index token.")
]
Revision = Annotated[int | None, typer.Option(help="Revision the change is made of; refused when it was edited since.")]


@transcripts.command("put")
def put(  # noqa: PLR0917  (typer reads options off the parameters)
    video_id: common.VideoId,
    file: Annotated[Path, typer.Argument(help="A .vtt, .srt or .json file.", exists=True, dir_okay=False)],
    revision: Revision = None,
    wait: Wait = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Puts the transcript in a file in place of the one there is."""
    form = _FORMS.get(file.suffix.lower())
    if form is None:
        common.fail(f"{file.name} is not one of {', '.join(_FORMS)}.")
    with common.connected(url, data_dir) as client:
        video = client.put_transcript(video_id, file.read_bytes(), form, revision=revision)
        told = "nothing has changed" if video.status == "ready" else "what changed is being made searchable"
        common.out.print(f"{video.video_id} {escape(video.title)}: {told}")
        if wait:
            _wait(client, video_id)


@transcripts.command("edit")
def edit_segment(  # noqa: PLR0917  (typer reads options off the parameters)
    video_id: common.VideoId,
    segment: Annotated[str, typer.Argument(help="Its segment_id, which `transcript ID -f json` shows.")],
    text: Annotated[str | None, typer.Option(help="What is said.")] = None,
    start: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    end: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Who says it; empty for unknown.")] = None,
    suspect: Annotated[
        bool | None, typer.Option("--suspect/--believed", help="Whether nobody says it, or somebody does.")
    ] = None,
    revision: Revision = None,
    wait: Wait = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Corrects a segment."""
    with common.connected(url, data_dir) as client:
        edited = client.edit_segment(
            video_id,
            segment,
            text=text,
            start=start,
            end=end,
            speaker=speaker,
            suspect=suspect,
            revision=revision,
        )
        common.out.print(f"{edited.segment.start:.2f}-{edited.segment.end:.2f} {escape(edited.segment.text.strip())}")
        common.out.print(f"revision {edited.revision}; the video is {edited.status}")
        if wait:
            _wait(client, video_id)


def _wait(client: Client, video_id: str) -> None:
    """Waits until all of a video is searchable, and tells its receipt."""
    last: VideoStatus | None = None
    for status in client.watch(video_id):
        last = status
    if last is None or last.status != READY:
        why = f": {last.error.message} ({last.error.reason})" if last and last.error else ""
        common.fail(f"{video_id} is {last.status if last else 'gone'}{why}")
    common.out.print(f"searchable: {last.index_token}")
