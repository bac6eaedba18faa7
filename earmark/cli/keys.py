"""`earmark keys`: who may do what, where the gateway takes keys."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.markup import escape
from rich.table import Table

from earmark.cli import common
from earmark.client import ApiKey
from earmark.client.keys import Right

app = typer.Typer(help="API keys: who may do what, where the gateway takes keys.", no_args_is_help=True)

_GIB = 2**30


@app.command()
def create(  # noqa: PLR0917  (typer reads options off the parameters)
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")],
    scopes: Annotated[list[str], typer.Option("--scope", help="read, upload or admin; may be repeated.")] = ["read"],  # noqa: B006
    collections: Annotated[
        list[str] | None,
        typer.Option("--collection", help="Whose videos it sees; may be repeated. [default: all]", show_default=False),
    ] = None,
    default_collection: Annotated[
        str, typer.Option(help="Where its uploads go that name none. [default: the first]", show_default=False)
    ] = "",
    rate: Annotated[float | None, typer.Option(help="Requests a second, in the long run.", show_default=False)] = None,
    gib_per_day: Annotated[
        float | None, typer.Option(help="GiB of media it may upload on a day.", show_default=False)
    ] = None,
    videos_per_day: Annotated[int | None, typer.Option(help="Videos it may make on a day.", show_default=False)] = None,
    days: Annotated[float | None, typer.Option(help="When it ends. [default: never]", show_default=False)] = None,
    as_json: common.AsJson = False,
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Makes a key and prints it on standard output. It is shown this once."""
    with common.connected(url, data_dir) as client:
        made = client.keys.create(
            name,
            scopes=cast(list[Right], scopes),  # a wrong one is refused by the gateway, which knows them
            collections=collections or None,
            default_collection=default_collection,
            requests_per_second=rate,
            bytes_per_day=None if gib_per_day is None else round(gib_per_day * _GIB),
            videos_per_day=videos_per_day,
            expires_in_days=days,
        )
    if as_json:
        common.print_json({**made.key.raw, "key": made.text})
        return
    print(made.text)
    common.err.print(
        f"[dim]{escape(made.key.key_id)}: {escape(_may(made.key))}. Keep it; it cannot be shown again.[/]",
        soft_wrap=True,
    )


@app.command("list")
def list_keys(as_json: common.AsJson = False, url: common.Url = None, data_dir: common.Data = None) -> None:
    """Lists keys, newest first, also those that are over."""
    with common.connected(url, data_dir) as client:
        keys = list(client.keys.list())
    if as_json:
        common.print_json([key.raw for key in keys])
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("key", "name", "may", "made", "state"):
        table.add_column(title, no_wrap=title == "key")
    for key in keys:
        table.add_row(key.key_id, escape(key.name), escape(_may(key)), f"{key.created_at:%Y-%m-%d}", _state(key))
    common.print_table(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `earmark keys list` shows it.")],
    url: common.Url = None,
    data_dir: common.Data = None,
) -> None:
    """Ends a key for good; every gateway refuses it within seconds."""
    with common.connected(url, data_dir) as client:
        key = client.keys.revoke(key_id)
    common.out.print(f"{escape(key.name)} ({key.key_id}) is revoked.")


def _may(key: ApiKey) -> str:
    where = "all videos" if key.collections is None else ", ".join(key.collections)
    return f"{', '.join(key.scopes)} of {where}"


def _state(key: ApiKey) -> str:
    if key.holds:
        return f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "holds"
    return f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "over"
