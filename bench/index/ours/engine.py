"""Our shard, in process and through gRPC, as the engines beside it: `bench.index.engine.Engine`.

Each segment tuned itself when it was built (`EARMARK_INDEX_RECALL_TARGET`, 0.98), not with
these questions but, as in production, with sentences of chunks. Chunks have no words here, as the peers keep none;
bench.index.shard has the whole. The engines called tuned are told how far to look, as the peers are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp

from bench.index.corpus import Block, Corpus, Numbers, Vectors
from bench.index.engine import GRAPH_EFFORTS, Unsupported
from bench.index.ours import folder as index
from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common.rpc import connect
from services.common.videos.model import quantized
from services.gateway.clients import GrpcShard
from services.indexer.chunks import Batch, Filter, Found, PutChunks, Query, ReplaceSlice
from services.indexer.record import chunk_id_of
from services.indexer.replica import Replica
from services.indexer.segment import Segment

T = TypeVar("T")

BLOCK = 20_000
DEADLINE_SECONDS = 30.0
_NO_CHUNKS = Batch([], np.empty((0, 0), np.float32), index.MODEL)


class InProcess:
    """The shard itself, called from this thread; sealing and merging go on as in the service."""

    efforts: Sequence[int] = (0,)
    kind = ""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder / "index", threads
        self._policy = index.policy_of(self.kind, threads)
        self._loop = asyncio.new_event_loop()
        self._searches = ThreadPoolExecutor(threads)
        self._replica: Replica | None = None
        self._videos: Numbers = np.empty(0, np.int64)

    def build(self, corpus: Corpus, room: int) -> None:  # noqa: ARG002  # it grows by itself
        sentences = [sentence.tobytes() for sentence in quantized(np.load(corpus.path.with_name("sentences.npy")))]
        batches = (
            index.plain_batch(block.videos.tolist(), block.ids.tolist(), block.vectors, sentences)
            for block in corpus.blocks(BLOCK)
        )
        infos = {index.video_id(number): index.info(number) for number in np.unique(corpus.videos()).tolist()}
        index.write(self._folder, batches, infos, self._policy)
        np.save(self._folder / "videos.npy", corpus.videos())

    def save(self) -> None:
        """Written as it was built, and synced."""

    def open(self) -> None:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._replica = index.replica(self._folder, self._policy, self._threads)
        self._wait(self._replica.restore())
        self._replica.ready = True
        asyncio.run_coroutine_threadsafe(self._replica.keep_compact(), self._loop)
        self._videos = np.load(self._folder / "videos.npy")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def _opened(self) -> Replica:
        assert self._replica is not None, "open() comes first"
        return self._replica

    def effort(self, value: int) -> None:
        """Nothing to set."""

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        return _rows(self._opened.shard.search(_query(query, k, below)))

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        shard = self._opened.shard
        share = -(-len(queries) // self._threads)
        parts = [[_query(query, k, None) for query in queries[at : at + share]] for at in range(0, len(queries), share)]
        return [_rows(found) for part in self._searches.map(shard.search_many, parts) for found in part]

    def add(self, block: Block) -> None:
        batch = index.plain_batch(block.videos.tolist(), block.ids.tolist(), block.vectors)
        infos = {index.video_id(number): index.info(number) for number in block.videos.tolist()}
        self._wait(self._opened.apply([PutChunks(infos, batch)]))

    def delete(self, ids: Numbers) -> None:
        changes = []
        for row, video in zip(ids.tolist(), self._videos[ids].tolist(), strict=True):
            changes.append(ReplaceSlice(index.video_id(video), f"{row:08d}", index.info(video), _NO_CHUNKS))
        self._wait(self._opened.apply(changes))


class InProcessRabitq(InProcess):
    kind = "ivf_rabitq"


class InProcessLists(InProcess):
    kind = "ivf"


class InProcessTuned(InProcess):
    efforts = GRAPH_EFFORTS

    def effort(self, value: int) -> None:
        for part, _ in self._opened.shard.view.parts:
            if isinstance(part, Segment):
                part.dense.look(value)


class Rpc:
    """The indexer's servicer in a process of its own; the client here, as the gateway's: grpc.aio over uvloop."""

    efforts: Sequence[int] = (0,)
    kind = ""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder / "index", threads
        self._loop = uvloop.new_event_loop()
        self._server: subprocess.Popen[bytes] | None = None
        self._stub: Any = None

    def build(self, corpus: Corpus, room: int) -> None:
        builder = InProcess(self._folder.parent, self._threads)
        builder._policy = index.policy_of(self.kind, self._threads)  # noqa: SLF001  # one of its own
        builder.build(corpus, room)

    def save(self) -> None:
        """Written as it was built, and synced."""

    def open(self) -> None:
        command = [sys.executable, "-m", "bench.index.ours.server", "--folder", str(self._folder)]
        command += ["--threads", str(self._threads), "--kind", self.kind]
        # Ends when its stdin does, which is when this process does.
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        port = int(self._server.stdout.readline())
        self._server.stdout.readline()  # what it says of its start
        self._loop.run_until_complete(self._connect(port))

    async def _connect(self, port: int) -> None:
        self._stub = pb_grpc.ShardServiceStub(connect(f"127.0.0.1:{port}"))  # type: ignore[no-untyped-call]

    def effort(self, value: int) -> None:
        """Nothing to set."""

    def search(self, query: Vectors, k: int, below: int | None) -> Sequence[int]:
        return self._loop.run_until_complete(self._one(_request(query, k, below)))

    async def _one(self, request: pb.SearchShardRequest) -> list[int]:
        return _of_response(await self._stub.SearchShard(request, timeout=DEADLINE_SECONDS))

    def search_many(self, queries: Vectors, k: int) -> Sequence[Sequence[int]]:
        return self._loop.run_until_complete(self._many([_request(query, k, None) for query in queries]))

    async def _many(self, requests: Sequence[pb.SearchShardRequest]) -> list[list[int]]:
        return await asyncio.gather(*(self._one(request) for request in requests))

    def add(self, block: Block) -> None:  # noqa: ARG002  # the protocol's
        raise Unsupported("chunks come by the event stream: see bench.index.shard")

    def delete(self, ids: Numbers) -> None:  # noqa: ARG002  # the protocol's
        raise Unsupported("deletes come by the event stream")

    def __del__(self) -> None:
        if self._server is not None and self._server.stdin is not None:
            with contextlib.suppress(OSError):
                self._server.stdin.close()


class RpcBatch(Rpc):
    """The same, with the 32 of a turn in one call."""

    async def _many(self, requests: Sequence[pb.SearchShardRequest]) -> list[list[int]]:
        batch = pb.SearchShardBatchRequest(searches=requests)
        answer = await self._stub.SearchShardBatch(batch, timeout=DEADLINE_SECONDS)
        return [_of_response(response) for response in answer.responses]


class RpcClient(Rpc):
    """The same through the gateway's client of a shard, which sends together what would have to wait."""

    async def _connect(self, port: int) -> None:
        self._client = GrpcShard.connect(f"127.0.0.1:{port}")
        assert await self._client.state(timeout=DEADLINE_SECONDS) is not None, "the server does not answer"

    async def _one(self, request: pb.SearchShardRequest) -> list[int]:
        return _of_response(await self._client.search(request, timeout=DEADLINE_SECONDS))


class RpcTuned(Rpc):
    efforts = GRAPH_EFFORTS

    def effort(self, value: int) -> None:
        assert self._server is not None, "open() comes first"
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"do": "look", "breadth": value}).encode() + b"\n")
        self._server.stdin.flush()
        self._server.stdout.readline()


class RpcClientTuned(RpcTuned, RpcClient):
    """The same through the gateway's client of a shard."""


class RpcBatchTuned(RpcTuned, RpcBatch):
    """The same, with the 32 of a turn in one call."""


def _query(vector: Vectors, k: int, below: int | None) -> Query:
    chosen = Filter() if below is None else Filter(uploaded_before=float(below))
    return Query(vector, index.MODEL, "", k, filter=chosen, ids_only=True)


def _rows(found: Found) -> list[int]:
    hits = sorted(found.hits, key=lambda hit: -(hit.semantic_score or 0))
    return [index.row_of(chunk_id_of(hit.record)) for hit in hits]


def _request(vector: Vectors, k: int, below: int | None) -> pb.SearchShardRequest:
    request = pb.SearchShardRequest(vector=vector.tobytes(), model_revision=index.MODEL, k=k, ids_only=True)
    if below is not None:
        request.filter.uploaded_before.CopyFrom(Timestamp(seconds=below))
    return request


def _of_response(response: pb.SearchShardResponse) -> list[int]:
    hits = sorted(response.hits, key=lambda hit: -hit.semantic_score)
    return [index.row_of(hit.chunk.chunk_id) for hit in hits]
