"""An operator's command: what the schema is, and to another version. `earmark migrate` hands its arguments on to it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict

from pymongo.errors import PyMongoError

from services.common import mongo
from services.common.errors import EarmarkError, InvalidArgument
from services.common.migrations.known import MIGRATIONS
from services.common.migrations.schema import Schema, State
from services.common.settings import CommonSettings, read


def main(args: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    parser = argparse.ArgumentParser(prog="earmark migrate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status")
    status.add_argument("--json", action="store_true")
    for name in ("up", "down"):
        move = commands.add_parser(name)
        move.add_argument("--to", type=int, default=len(MIGRATIONS), required=name == "down")
        move.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(args)
    settings = read(CommonSettings)
    try:
        for line in asyncio.run(_run(settings, given)):
            sys.stdout.write(f"{line}\n")
    except EarmarkError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    except PyMongoError as error:
        sys.stderr.write(f"error: the database does not do it: {error}\nEARMARK_MONGO_URL says where it is\n")
        return 1
    return 0


async def _run(settings: CommonSettings, given: argparse.Namespace) -> list[str]:
    async with AsyncExitStack() as stack:
        schema = Schema(await mongo.connect(settings, stack))
        state = await schema.state()
        if given.command == "status":
            return [_as_json(state, schema.newest)] if given.json else _lines(state, schema.newest)
        up = given.command == "up"
        if (given.to < state.version) if up else (given.to > state.version):
            way = "down" if up else "up"
            raise InvalidArgument(f"the schema is {state.version}: `earmark migrate {way} --to {given.to}`")
        changes = await (schema.plan(given.to) if given.dry_run else schema.move(given.to))
        does = "would change" if given.dry_run else "changed"
        lines = [
            f"{one.direction} {one.migration.number} ({one.migration.title}): {does} {one.count}" for one in changes
        ]
        if not given.dry_run:
            lines.append(f"schema {given.to}" + (", held there" if given.to < schema.newest else ""))
        return lines or ["nothing to change"]


def _as_json(state: State, newest: int) -> str:
    return json.dumps({**asdict(state), "newest": newest}, indent=2, default=str)


def _lines(state: State, newest: int) -> list[str]:
    lines = [
        f"schema {state.version}; this release knows {newest}; releases that know {state.readable_by} can read it",
    ]
    if state.held_at is not None:
        lines.append(f"held at {state.held_at} by an operator: `earmark migrate up` ends that")
    if state.doing:
        lines.append(f"being changed by {state.doing}")
    return lines + [
        f"  {one['began_at']:%Y-%m-%d %H:%M:%S}  {one['direction']:4} {one['number']}  changed {one['changed']}"
        f" in {one['seconds']:.1f} s  by {one['by']}, release {one['release']}"
        for one in state.history
    ]
