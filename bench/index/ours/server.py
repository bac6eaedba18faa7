"""A replica's gRPC server over a folder that is there: `python -m bench.index.ours.server --folder F`.

The servicer, the replica, its threads and the server are the indexer's; only the follower of the stream is left out.
Prints its port when it is ready, then JSON about its start; obeys orders (a line of JSON each); ends with stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import uvloop

from bench.index.ours import folder as index
from bench.index.ours.ingest import Ingest
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common import logs
from services.common.rpc import make_server
from services.common.settings import CommonSettings
from services.indexer.servicer import ShardServicer


async def serve(arguments: argparse.Namespace, answers: TextIO) -> None:
    """Opens, serves, and obeys."""

    def say(answer: object) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    replica = index.replica(
        arguments.folder, index.policy_of(arguments.kind, arguments.build_threads), arguments.threads
    )
    begun = time.perf_counter()
    loaded = await replica.restore()
    assert loaded is not None, f"there is no snapshot in {arguments.folder}"
    replica.ready = True
    server = make_server(CommonSettings())
    pb_grpc.add_ShardServiceServicer_to_server(ShardServicer(replica=replica), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    compacting = asyncio.create_task(replica.keep_compact())
    say(port)
    say({"restore s": time.perf_counter() - begun, "chunks": replica.shard.chunk_count})
    ingest = Ingest(replica)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        say(await getattr(ingest, order.pop("do"))(**order))
    compacting.cancel()
    await server.stop(0)
    os._exit(0)  # a merge under way would be waited for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--kind", default="")
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # logs go there; only answers go back
    logs.configure("bench-indexer", level="error", fmt="json")
    uvloop.run(serve(arguments, answers))


if __name__ == "__main__":
    main()
