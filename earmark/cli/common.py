"""What the commands share: the console, the options, which gateway is meant, and how a mistake is told."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from earmark.client import ApiError, Client, ConnectionFailed, EarmarkClientError, PermissionDenied
from earmark.client.calls import KEY_VARIABLE
from earmark.local.paths import DATA_DIR_VARIABLE, DataDir
from earmark.local.state import MeshState, is_held

DEFAULT_URL = "http://127.0.0.1:8080"
EXIT_FAILED, EXIT_UNREACHABLE = 1, 3

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="EARMARK_URL", help="The gateway. [default: the mesh of the data folder]", metavar="URL"
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar=DATA_DIR_VARIABLE, help="Data folder. [default: ./.earmark]", metavar="FOLDER"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the gateway's JSON.")]
VideoId = Annotated[str, typer.Argument(metavar="VIDEO_ID", help="As `earmark ls` shows it.")]


def api_key(url: str | None, data: Path | None = None) -> str:
    """The key of EARMARK_API_KEY, else that of the mesh of the data folder, where it takes keys; empty for none."""
    given = os.environ.get(KEY_VARIABLE, "")
    folder = DataDir.resolve(data)
    if given or (url and not _is_of(folder, url)):  # the mesh's own key is for nobody else
        return given
    try:
        return folder.admin_key.read_text().strip()
    except OSError:
        return ""


def _is_of(folder: DataDir, url: str) -> bool:
    """Whether a URL is that of the mesh of a data folder, and it runs: of one that has ended, others may have it."""
    return url.rstrip("/") == MeshState.load(folder).http_url and is_held(folder)


def gateway_url(url: str | None, data: Path | None = None) -> str:
    """The URL given, else that of the mesh of the data folder, else the usual one."""
    return (url or MeshState.load(DataDir.resolve(data)).http_url or DEFAULT_URL).rstrip("/")


@contextmanager
def connected(url: str | None, data: Path | None = None) -> Iterator[Client]:
    """A client of the gateway that is meant."""
    with Client(gateway_url(url, data), key=api_key(url, data)) as client:
        yield client


def fail(message: str, *, code: int = EXIT_FAILED) -> NoReturn:
    """Says what is wrong on standard error and ends the command."""
    err.print(f"[bold red]error:[/] {_plain(message)}", soft_wrap=True)
    raise typer.Exit(code)


def explain(error: EarmarkClientError) -> str:
    """What a person should read about a refused request."""
    lines = [error.message]
    if isinstance(error, ConnectionFailed):
        lines.append("Start the mesh with `earmark up`, or name another gateway with --url.")
    if isinstance(error, PermissionDenied) and error.http_status == 401:
        lines.append(_where_keys_are())
    if isinstance(error, ApiError):
        # The message mostly says what is wrong with the one field there is.
        told = (violation for violation in error.violations if violation.description != error.message)
        lines += [f"  {violation.field}: {violation.description}" for violation in told]
        if error.retry_after:
            lines.append(f"Try again in {error.retry_after:g} s.")
    return "\n".join(lines)


def _where_keys_are() -> str:
    path = DataDir.resolve().admin_key
    own = (
        f'that of the mesh of this data folder with `export {KEY_VARIABLE}="$(cat {shlex.quote(str(path))})"`'
        if path.exists()
        else "that of a mesh started with `earmark up` is the file admin-key of its data folder, readable by its owner"
    )
    return (
        f"Set {KEY_VARIABLE} to a key of this gateway: {own}.\n"
        "Other keys are made by whoever has an administrator's: `earmark keys create`."
    )


def print_json(value: Any) -> None:
    """Prints JSON that other programs can read: no colours, no wrapping."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(table: Table) -> None:
    """Prints a table; each row on one line where it is no terminal: what a program reads is whole, however wide."""
    if not out.is_terminal:
        table.width = out.measure(table, options=out.options.update(max_width=sys.maxsize)).maximum
    out.print(table, crop=out.is_terminal)


def print_line(line: Text, *, indent: int = 0) -> None:
    """Prints a line of text, broken into several on a terminal only: what a program reads stays together."""
    if out.is_terminal:
        out.print(Padding(line, (0, 0, 0, indent)))
    else:
        out.print(Text.assemble(" " * indent, line), soft_wrap=True)


def interactive() -> bool:
    """Whether somebody watches: standard output is a terminal and not told to be plain."""
    return out.is_terminal and not os.environ.get("CI")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
