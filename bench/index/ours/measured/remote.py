"""A bench server (`bench.index.ours.server`) in a process of its own: orders, searches, processor time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from bench.index.corpus import Vectors
from bench.index.ours import folder as index
from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.rpc import connect

K = 10
DEADLINE_SECONDS = 30.0


@dataclass(slots=True)
class Remote:
    """A running server.

    Attributes:
        facts: What it says of its start, and `ready s`: from the start of its process to its first answer.
    """

    process: asyncio.subprocess.Process
    channel: grpc.aio.Channel
    stub: Any
    facts: dict[str, Any]

    async def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Has something done, and gives what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        answer: dict[str, Any] = await self.answer()
        return answer

    async def answer(self) -> Any:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError("the server ended")
        return json.loads(line)

    async def search(self, vector: Vectors) -> pb.SearchShardResponse:
        request = pb.SearchShardRequest(vector=vector.tobytes(), model_revision=index.MODEL, k=K, ids_only=True)
        response: pb.SearchShardResponse = await self.stub.SearchShard(request, timeout=DEADLINE_SECONDS)
        return response

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def remote(folder: Path, *, threads: int = 2) -> AsyncIterator[Remote]:
    """Starts a server over a folder, and ends it."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.index.ours.server", "--folder", str(folder), "--threads", str(threads)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        channel = connect(f"127.0.0.1:{port}")
        stub = pb_grpc.ShardServiceStub(channel)  # type: ignore[no-untyped-call]
        server = Remote(process, channel, stub, {"ready s": time.perf_counter() - begun})
        server.facts |= await server.answer()
        try:
            yield server
        finally:
            await channel.close(None)
    finally:
        process.stdin.close()
        await process.wait()
