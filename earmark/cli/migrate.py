"""`earmark migrate`: the schema of the database, by version.

It is the services' own: this starts their command, which speaks to the database itself, with the environment that the
services have, or with the database of the mesh that runs on this machine.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from earmark.cli import common
from earmark.local import state as states
from earmark.local.paths import DataDir

URL_VARIABLE = "EARMARK_MONGO_URL"

app = typer.Typer(
    help="The schema of the database (EARMARK_MONGO_URL): which version it has, and to another.", no_args_is_help=True
)

To = Annotated[int, typer.Option("--to", min=0, metavar="N", help="The version wanted.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(as_json: AsJson = False, data: common.Data = None) -> None:
    """Shows the version, what this release knows, and who changed it when."""
    _run(["status", *(["--json"] if as_json else [])], data)


@app.command()
def up(
    to: Annotated[int | None, typer.Option("--to", min=0, metavar="N", help="[default: the newest]")] = None,
    dry_run: DryRun = False,
    data: common.Data = None,
) -> None:
    """Makes the changes up to a version. Gateways do it when they start; this is for one that takes long."""
    _run(["up", *([] if to is None else ["--to", str(to)]), *(["--dry-run"] if dry_run else [])], data)


@app.command()
def down(to: To, dry_run: DryRun = False, data: common.Data = None) -> None:
    """Takes changes back down to a version and holds it there, before the release that knew no more is started."""
    _run(["down", "--to", str(to), *(["--dry-run"] if dry_run else [])], data)


def _run(args: list[str], data: Path | None) -> None:
    if importlib.util.find_spec("pymongo") is None:
        common.fail("this speaks to MongoDB: pip install 'earmark[service]', or run it in a gateway's pod")
    ran = subprocess.run(
        [sys.executable, "-m", "services.common.migrations", *args],
        env={**os.environ, **database_environment(data)},
        check=False,
    )
    raise typer.Exit(ran.returncode)


def database_environment(data: Path | None) -> dict[str, str]:
    """What the command has to be told of the database beside what is in the environment."""
    secret = Path(os.environ.get("EARMARK_SECRETS_DIR") or "/run/secrets") / URL_VARIABLE.lower()
    if os.environ.get(URL_VARIABLE) or secret.is_file():
        return {}
    from earmark.local.servers import MONGO, mongo_url  # takes pymongo, which a client's install does not have

    running = states.running(DataDir.resolve(data))
    if running is None or MONGO not in running.ports:
        common.fail(f"say which database with {URL_VARIABLE}, or start the mesh of this machine: `earmark up`")
    return {URL_VARIABLE: mongo_url(running.ports[MONGO])}
