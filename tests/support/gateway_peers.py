"""The gateway's peers as small real gRPC servers: an embedder that hashes words, and index shards held in memory."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from earmark.internal.v1 import embedder_service_pb2 as embedder_pb
from earmark.internal.v1 import embedder_service_pb2_grpc as embedder_grpc
from earmark.internal.v1 import shard_service_pb2 as shard_pb
from earmark.internal.v1 import shard_service_pb2_grpc as shard_grpc
from services.common.errors import EarmarkError
from services.common.rpc import make_server
from services.common.settings import CommonSettings

DIMENSION = 1024
MODEL = "hash-words@1"

Vector = npt.NDArray[np.float32]


def words_of(text: str) -> list[str]:
    """The words of a text, as the fakes see them."""
    return re.findall(r"\w+", text.lower())


def hash_vector(text: str) -> Vector:
    """A unit vector that is near that of another text when they share words; zero when there is no word."""
    vector = np.zeros(DIMENSION, dtype=np.float32)
    for word in words_of(text):
        vector[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % DIMENSION] += 1
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def chunk(
    video_id: str,
    number: int,
    text: str,
    start: float = 0.0,
    end: float = 30.0,
    marks: list[tuple[int, float]] | None = None,
    *,
    language: str = "en",
    title: str = "A talk",
) -> shard_pb.Chunk:
    """A chunk with the vector the fake embedder would give it."""
    return shard_pb.Chunk(
        chunk_id=f"{video_id}/00000/{number:04d}",
        video_id=video_id,
        text=text,
        start_offset=_duration(start),
        end_offset=_duration(end),
        sentence_marks=[
            shard_pb.SentenceMark(char_offset=offset, start_offset=_duration(at))
            for offset, at in marks or [(0, start)]
        ],
        language=language,
        title=title,
        vector=hash_vector(text).tobytes(),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


@dataclass
class Behaviour:
    """What a fake peer does besides answering: waits first, or fails."""

    delay_seconds: float = 0.0
    error: EarmarkError | None = None
    calls: int = 0
    cancelled: int = 0

    async def apply(self) -> None:
        """Does it."""
        self.calls += 1
        try:
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error


@dataclass
class FakeEmbedder(embedder_grpc.EmbedderServiceServicer):
    """Hashes words."""

    behaviour: Behaviour = field(default_factory=Behaviour)

    async def Embed(self, request: embedder_pb.EmbedRequest, context: Any) -> embedder_pb.EmbedResponse:
        """Embeds."""
        await self.behaviour.apply()
        vectors = [hash_vector(text).tobytes() for text in request.texts]
        return embedder_pb.EmbedResponse(vectors=vectors, dimension=DIMENSION, model_revision=MODEL)


@dataclass
class FakeShard(shard_grpc.ShardServiceServicer):
    """Searches its chunks one by one: cosine, and the share of the query's words."""

    shard: int = 0
    chunks: list[shard_pb.Chunk] = field(default_factory=list)
    behaviour: Behaviour = field(default_factory=Behaviour)
    last_request: shard_pb.SearchShardRequest | None = None

    async def SearchShard(self, request: shard_pb.SearchShardRequest, context: Any) -> shard_pb.SearchShardResponse:
        """Searches."""
        self.last_request = request
        await self.behaviour.apply()
        wanted = request.filter
        chunks = [
            chunk
            for chunk in self.chunks
            if (not wanted.video_ids or chunk.video_id in wanted.video_ids)
            and (not wanted.language or chunk.language == wanted.language)
        ]
        hits: dict[str, shard_pb.ShardHit] = {}
        legs: list[str] = []
        if request.vector:
            legs.append("semantic")
            vector = np.frombuffer(request.vector, dtype="<f4")
            for found, score in _best(chunks, lambda c: float(np.frombuffer(c.vector, "<f4") @ vector), request.k):
                _hit(hits, found).semantic_score = score
        if request.text:
            legs.append("keyword")
            asked = set(words_of(request.text))
            for found, score in _best(chunks, lambda c: float(len(asked & set(words_of(c.text)))), request.k):
                if score > 0:
                    _hit(hits, found).keyword_score = score
        return shard_pb.SearchShardResponse(hits=hits.values(), legs=legs, shard=self.shard)


def _best(
    chunks: list[shard_pb.Chunk], score: Callable[[shard_pb.Chunk], float], count: int
) -> list[tuple[shard_pb.Chunk, float]]:
    return sorted(((chunk, score(chunk)) for chunk in chunks), key=lambda pair: -pair[1])[:count]


def _hit(hits: dict[str, shard_pb.ShardHit], found: shard_pb.Chunk) -> shard_pb.ShardHit:
    if found.chunk_id not in hits:
        hits[found.chunk_id] = shard_pb.ShardHit(chunk=found)
        hits[found.chunk_id].chunk.ClearField("vector")
    return hits[found.chunk_id]


class PeerServer:
    """A running peer.

    Attributes:
        target: Where it listens.
    """

    def __init__(self, target: str, health: HealthServicer) -> None:
        self.target = target
        self._health = health

    async def set_serving(self, serving: bool) -> None:
        """Changes what the peer says of its health."""
        status = health_pb2.HealthCheckResponse
        value = status.SERVING if serving else status.NOT_SERVING
        for name in ("earmark.internal.v1.ShardService", "earmark.internal.v1.EmbedderService"):
            await self._health.set(name, value)


@asynccontextmanager
async def peer(servicer: FakeEmbedder | FakeShard, *, port: int = 0) -> AsyncIterator[PeerServer]:
    """Serves a fake on loopback."""
    server = make_server(CommonSettings())
    if isinstance(servicer, FakeEmbedder):
        embedder_grpc.add_EmbedderServiceServicer_to_server(servicer, server)
    else:
        shard_grpc.add_ShardServiceServicer_to_server(servicer, server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    running = PeerServer(f"127.0.0.1:{bound}", health)
    await running.set_serving(True)
    await server.start()
    try:
        yield running
    finally:
        await server.stop(None)
