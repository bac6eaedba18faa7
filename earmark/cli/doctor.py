"""`earmark doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.markup import escape

from earmark.cli import checks, common
from earmark.local.paths import DataDir

_MARKS = {checks.OK: "[green]✓[/]", checks.WARNING: "[yellow]![/]", checks.MISSING: "[red]✗[/]"}


def doctor(
    port: int = typer.Option(8080, envvar="EARMARK_HTTP_PORT", help="The port the mesh is to use."),
    as_json: common.AsJson = False,
    data_dir: common.Data = None,
) -> None:
    """Says what the mesh needs on this machine, what is missing, and how to get it.

    Ends with 1 when something is missing.
    """
    found = list(checks.all_checks(DataDir.resolve(data_dir), port))
    if as_json:
        common.print_json([asdict(check) for check in found])
    else:
        for check in found:
            common.out.print(f"{_MARKS[check.state]} {check.name:<24} {escape(check.detail)}", soft_wrap=True)
            if check.state != checks.OK:
                common.out.print(f"  [dim]{'':<24} → {escape(check.remedy)}[/]", soft_wrap=True)
    missing = [check.name for check in found if check.state == checks.MISSING]
    if missing:
        if not as_json:
            common.out.print(f"[red]Missing:[/] {escape(', '.join(missing))}")
        raise typer.Exit(common.EXIT_FAILED)
    if not as_json:
        common.out.print("[green]Everything the mesh needs is here.[/]")
