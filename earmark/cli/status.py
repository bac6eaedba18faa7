"""`earmark status`."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from itertools import islice

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from earmark.cli import common
from earmark.cli.format import seconds, state, time_left
from earmark.cli.shard_views import progress_line
from earmark.client import ApiError, Client, ConnectionFailed, EarmarkClientError, Video
from earmark.client.index import IndexStatus
from earmark.local import state as states
from earmark.local.paths import DataDir
from earmark.local.state import MeshState

_MOST_VIDEOS = 1000


def status(as_json: common.AsJson = False, url: common.Url = None, data_dir: common.Data = None) -> None:
    """Shows how the mesh is and which videos are on their way.

    Ends with 1 when the mesh does not serve.
    """
    data = DataDir.resolve(data_dir)
    address = common.gateway_url(url, data_dir)
    running = states.running(data)
    if running and running.http_url != address:
        running = None  # another gateway is meant
    videos: list[Video] = []
    index: IndexStatus | None = None
    problem = ""
    ready = False
    with Client(address, key=common.api_key(url, data_dir)) as client:
        try:
            ready = client.is_ready()
            videos = list(islice(client.list(page_size=100), _MOST_VIDEOS))
            with suppress(ApiError):  # before the first indexer has made the slot table
                index = client.index.status()
        except EarmarkClientError as error:
            problem = common.explain(error) if isinstance(error, ConnectionFailed) else error.message
    if as_json:
        common.print_json(
            {
                "url": address,
                "ready": ready,
                "problem": problem or None,
                "mesh": asdict(running) if running else None,
                "index": index.raw if index else None,
                "videos": dict(Counter(video.status for video in videos)),
                "unfinished": [video.raw for video in videos if not video.settled],
            }
        )
    else:
        if running:
            common.print_table(_children(running))
        common.out.print(f"{address} ", Text("serves", "green") if ready else Text("does not serve", "red"), sep="")
        if problem:
            common.err.print(f"[red]✗[/] {escape(problem)}", soft_wrap=True)
        else:
            if index:
                _say_index(index)
            _say_videos(videos)
    if not ready:
        raise typer.Exit(common.EXIT_UNREACHABLE if not running and problem else common.EXIT_FAILED)


def _children(mesh: MeshState) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=f"Mesh of process {mesh.pid}, for {seconds(time.time() - mesh.begun_at)}",
        title_justify="left",
    )
    table.add_column("Part")
    table.add_column("State")
    for name in ("Process", "Port", "Restarts"):
        table.add_column(name, justify="right")
    table.add_column("Last end or trouble", overflow="fold")
    for child in mesh.children:
        table.add_row(
            child.name,
            state(child.state),
            str(child.pid or "-"),
            str(mesh.ports.get(child.name, "-")),
            str(child.restarts),
            Text(child.trouble or child.last_exit or "-"),
        )
    return table


def _say_index(index: IndexStatus) -> None:
    told = f"Index: {index.shards_total} shards"
    if index.settled:
        chunks = sum(max((one.chunk_count or 0 for one in shard.replicas), default=0) for shard in index.shards)
        common.out.print(f"{told}, {chunks:,} chunks")
    else:  # what is on the move is held twice
        common.out.print(f"{told}; on the move: {progress_line(index)}")
    for replica in index.replicas:
        if not replica.answers and any(shard.slots for shard in index.shards if shard.shard == replica.shard):
            common.out.print(f"  [red]✗[/] {replica.name}: {escape(replica.problem)}")


def _say_videos(videos: list[Video]) -> None:
    counts = Counter(video.status for video in videos)
    more = "at least " if len(videos) == _MOST_VIDEOS else ""
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none yet"
    common.out.print(f"Videos: {more}{told}")
    for video in videos:
        if video.status == "failed" and video.error:
            common.out.print(f"  [red]✗[/] {video.video_id} {escape(video.title)}: {escape(video.error.message)}")
        elif not video.settled:
            done = video.progress.fraction
            told = f"{done:.0%}" if done is not None else f"{video.progress.slices_done} slices so far"
            if (left := video.progress.seconds_left) is not None:
                told += f", {time_left(left)}"
            common.out.print(f"  {video.video_id} {escape(video.title)}: {video.status}, {told}")
