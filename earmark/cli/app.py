"""Puts the commands together."""

from __future__ import annotations

import typer

from earmark.cli import common
from earmark.cli.demo import demo
from earmark.cli.doctor import doctor
from earmark.cli.editing import transcripts
from earmark.cli.imports import import_transcripts
from earmark.cli.ingest import ingest
from earmark.cli.k8s import app as k8s
from earmark.cli.keys import app as keys
from earmark.cli.mesh import down, up
from earmark.cli.migrate import app as migrate
from earmark.cli.plan import plan
from earmark.cli.search import search
from earmark.cli.shards import app as shards
from earmark.cli.status import status
from earmark.cli.videos import edit, list_videos, remove, restore, retry, show
from earmark.client import ConnectionFailed, EarmarkClientError

app = typer.Typer(
    name="earmark",
    help="Finds the moment something was said in your videos.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
MESH, VIDEOS = "The mesh", "Videos"
app.command(rich_help_panel=MESH)(up)
app.command(rich_help_panel=MESH)(down)
app.command(rich_help_panel=MESH)(status)
app.command(rich_help_panel=MESH)(doctor)
app.command(rich_help_panel=MESH)(demo)
app.command(rich_help_panel=MESH)(plan)
app.add_typer(shards, name="shards", rich_help_panel=MESH)
app.add_typer(k8s, name="k8s", rich_help_panel=MESH)
app.add_typer(keys, name="keys", rich_help_panel=MESH)
app.add_typer(migrate, name="migrate", rich_help_panel=MESH)
app.command(rich_help_panel=VIDEOS)(ingest)
app.command("upload", hidden=True)(ingest)  # what people try first
app.command("import", rich_help_panel=VIDEOS)(import_transcripts)
app.command(rich_help_panel=VIDEOS)(search)
app.command("ls", rich_help_panel=VIDEOS)(list_videos)
app.command(rich_help_panel=VIDEOS)(show)
app.add_typer(transcripts, name="transcript", rich_help_panel=VIDEOS)
app.command(rich_help_panel=VIDEOS)(edit)
app.command(rich_help_panel=VIDEOS)(retry)
app.command("rm", rich_help_panel=VIDEOS)(remove)
app.command(rich_help_panel=VIDEOS)(restore)


def run() -> None:
    """Runs the command; what a person can mend is told without a traceback."""
    try:
        app()
    except EarmarkClientError as error:
        try:
            code = common.EXIT_UNREACHABLE if isinstance(error, ConnectionFailed) else common.EXIT_FAILED
            common.fail(common.explain(error), code=code)
        except typer.Exit as ending:
            raise SystemExit(ending.exit_code) from None
