"""The embedded servers as the supervisor starts them: they answer, and keep what they acknowledged over SIGKILL."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import nats
import pymongo
import pytest

from earmark.local import ports, servers
from earmark.local import state as states
from earmark.local.paths import DataDir
from earmark.local.state import MeshState
from earmark.local.supervisor import Supervisor
from tests.support import eventually


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    folder = DataDir(tmp_path / 'data "with" blanks')
    folder.run.mkdir(parents=True)
    return folder


async def test_servers_answer_and_lose_nothing_when_killed(data: DataDir) -> None:
    assigned = ports.assign([servers.NATS, servers.MONGO], {})
    nats_url, mongo_url = servers.nats_url(assigned["nats"]), servers.mongo_url(assigned["mongo"])
    specs = [servers.nats(data, assigned["nats"]), servers.mongo(data, assigned["mongo"])]
    mesh = MeshState()
    supervisor = Supervisor(data=data, specs=specs, mesh=mesh, sink=lambda _: None, start_seconds=60)
    task = asyncio.create_task(supervisor.run())
    try:
        await eventually(lambda: mesh.state == states.SERVING, 60)
        connection = await nats.connect(nats_url)
        await connection.jetstream().add_stream(name="S", subjects=["s.>"])
        await connection.jetstream().publish("s.1", b"kept")
        await connection.close()
        with pymongo.MongoClient(mongo_url, w="majority", retryWrites=True) as client:
            client.earmark.things.insert_one({"_id": 1})
        for child in mesh.children:
            os.kill(child.pid, signal.SIGKILL)
        await eventually(lambda: all(child.restarts == 1 for child in mesh.children), 10)
        await eventually(lambda: not mesh.waiting_for(), 60)
        connection = await nats.connect(nats_url)
        assert (await connection.jetstream().stream_info("S")).state.messages == 1
        await connection.close()
        with pymongo.MongoClient(mongo_url) as client:
            assert client.earmark.things.find_one() == {"_id": 1}
    finally:
        supervisor.stop()
        await task
    assert 'sync_interval: "always"' in (data.run / "nats.conf").read_text()
