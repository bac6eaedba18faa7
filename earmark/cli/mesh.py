"""`earmark up` and `earmark down`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.markup import escape

from earmark.cli import common
from earmark.cli.format import seconds
from earmark.cli.log_view import LogView
from earmark.local import state as states
from earmark.local.paths import DataDir

if TYPE_CHECKING:
    from earmark.local.mesh import MeshFailed, MeshOptions
    from earmark.local.state import MeshState

Port = Annotated[
    int,
    typer.Option(
        envvar="EARMARK_HTTP_PORT", min=1, max=65535, help="Of page and API; the next free one if it is taken."
    ),
]
AsrModel = Annotated[
    str | None,
    typer.Option(
        "--asr-model", envvar="EARMARK_ASR_MODEL", help="whisper-base (default), whisper-tiny.en, or a folder."
    ),
]


def up(  # noqa: PLR0917  (typer reads options off the parameters)
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything serves.")] = False,
    port: Port = 8080,
    asr_model: AsrModel = None,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Shards of a new index (2); later: `earmark shards scale`.", show_default=False
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Indexers of each shard. [default: as before, else 1]", show_default=False),
    ] = None,
    data_dir: common.Data = None,
) -> None:
    """Starts the whole mesh on this machine; Ctrl-C ends it.

    A second `up` on the same data folder says where the mesh runs.
    """
    data = DataDir.resolve(data_dir)
    running = states.running(data)
    if running and (running.state == states.SERVING or not detach):
        say_where(running, data)
        return
    options = mesh_options(port, asr_model, shards=shards, replicas=replicas)
    if detach:
        start_detached(data, options)
    else:
        _serve_here(data, options)


def down(data_dir: common.Data = None) -> None:
    """Ends the mesh; its data stays."""
    from earmark.local import mesh

    data = DataDir.resolve(data_dir)
    begun = time.monotonic()
    try:
        with common.err.status("ending the mesh"):
            ended = mesh.stop(data)
    except TimeoutError as error:
        common.fail(str(error))
    if ended:
        common.out.print(f"The mesh has ended ({seconds(time.monotonic() - begun)}). Its data stays in {data.root}.")
    else:
        common.out.print(f"No mesh runs on {data.root}.")


def mesh_options(
    port: int, asr_model: str | None, *, shards: int | None = None, replicas: int | None = None
) -> MeshOptions:
    """Options of a mesh.

    Ends the command when the packages of the embedded mesh are not installed.
    """
    try:
        from earmark.local.mesh import MeshOptions
    except ModuleNotFoundError as error:
        common.fail(
            f"the embedded mesh needs the package `{error.name}`, which is not installed.\n"
            'Get everything with `pip install "earmark[all]"`; `earmark doctor` says what is missing.'
        )
    embedding = os.environ.get("EARMARK_EMBEDDING_MODEL")
    return MeshOptions(port=port, asr=asr_model, embedding=embedding, shards=shards, replicas=replicas)


def start_detached(data: DataDir, options: MeshOptions) -> MeshState:
    """Starts the mesh apart and waits until it serves, showing what it waits for; ends the command when it fails."""
    from earmark.local import mesh

    begun = time.monotonic()
    last: MeshState | None = None
    try:
        with common.err.status("starting the mesh") as spinner:
            for last in mesh.start_detached(data, options):
                spinner.update(escape(_waiting(last)))
    except mesh.MeshFailed as error:
        _tell_failure(error)
    assert last is not None  # start_detached gives at least one state, or raises
    say_where(last, data, after=time.monotonic() - begun)
    return last


def say_where(mesh: MeshState, data: DataDir, *, after: float | None = None) -> None:
    """Says where the mesh is."""
    for note in mesh.notes:
        common.err.print(f"[yellow]![/] {escape(note)}")
    if mesh.state != states.SERVING:
        common.out.print(f"The mesh (process {mesh.pid}) is {mesh.state}: `earmark status`.")
        return
    how = f"serves after {seconds(after)}" if after is not None else f"runs already (process {mesh.pid})"
    common.out.print(f"The mesh {how}: [bold link={mesh.http_url}]{mesh.http_url}[/]")
    root = escape(str(data.root))
    chosen = "" if data.root == DataDir.resolve(None).root else f" --data-dir {root}"
    common.out.print(f"[dim]Data and logs: {root}   End it: earmark down{chosen}[/]", soft_wrap=True)


def _serve_here(data: DataDir, options: MeshOptions) -> None:
    from earmark.local import mesh

    view = LogView(common.out)
    begun = time.monotonic()
    try:
        asyncio.run(
            mesh.serve(data, options, view, lambda state: say_where(state, data, after=time.monotonic() - begun))
        )
    except states.AlreadyRunning:
        say_where(states.MeshState.load(data), data)
    except mesh.MeshFailed as error:
        _tell_failure(error)


def _waiting(mesh: MeshState) -> str:
    """What a start waits for, with what the first of them complains of."""
    waiting = [child for child in mesh.children if child.state != states.SERVING]
    if not waiting:
        return "preparing the models"
    trouble = next((f" ({child.name}: {child.trouble})" for child in waiting if child.trouble), "")
    return f"waiting for {', '.join(child.name for child in waiting)}{trouble}"


def _tell_failure(error: MeshFailed) -> NoReturn:
    for line in error.lines:
        common.err.print(f"  {line}", style="dim", markup=False, soft_wrap=True)
    common.fail(
        f"{error.message}\nThe whole log: {error.log}\n"
        "If it is a program, a package or a model that is missing: `earmark doctor` says which."
    )
