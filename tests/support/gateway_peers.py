"""The gateway's peers as small real gRPC servers: an embedder that hashes words, and index shards held in memory."""

import asyncio
import hashlib
import itertools
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from earmark.internal.v1 import embedder_service_pb2 as embedder_pb
from earmark.internal.v1 import embedder_service_pb2_grpc as embedder_grpc
from earmark.internal.v1 import shard_service_pb2 as shard_pb
from earmark.internal.v1 import shard_service_pb2_grpc as shard_grpc
from services.common.errors import EarmarkError, FailedPrecondition, InvalidArgument, Unavailable
from services.common.ids import SLOTS, slot_of
from services.common.rpc import make_server
from services.common.settings import CommonSettings
from services.common.slots import SlotTable, bitmap, from_bitmap
from services.gateway.hit_columns import columns_of
from services.gateway.routing import Route, Routes

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
    speaker: str = "",
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
        speaker=speaker,
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
    until: asyncio.Event | None = None
    calls: int = 0
    cancelled: int = 0

    async def apply(self) -> None:
        """Does it."""
        self.calls += 1
        try:
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if self.until is not None:
                await self.until.wait()
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
    """Searches its chunks one by one: cosine, and how many of the query's words there are.

    It holds `slots` and refuses others, finds chunks of the slots asked for only, and has applied the events up to
    `applied_sequence`, for which `advance` lets searches wait. Answers can be kept only where it `says_version`.
    One that does not know columns gives its hits one by one, whatever is asked, as releases before them do.
    """

    shard: int = 0
    chunks: list[shard_pb.Chunk] = field(default_factory=list)
    behaviour: Behaviour = field(default_factory=Behaviour)
    last_request: shard_pb.SearchShardRequest | None = None
    replica: int = 0
    slots: frozenset[int] = frozenset(range(SLOTS))
    videos: dict[str, shard_pb.IndexedVideo] = field(default_factory=dict)
    applied_sequence: int = 0
    lag: int = 0
    model: str = MODEL
    ready: bool = True
    slot_table_version: int = 1
    says_version: bool = False
    knows_columns: bool = True
    searches: int = 0
    checks: int = 0
    search_threads: int = 0
    batches: list[int] = field(default_factory=list)
    _advanced: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def advance(self, sequence: int) -> None:
        """Applies the events up to `sequence`."""
        async with self._advanced:
            self.applied_sequence = sequence
            self._advanced.notify_all()

    async def RebuildShard(self, request: shard_pb.RebuildShardRequest, context: Any) -> shard_pb.RebuildShardResponse:
        return shard_pb.RebuildShardResponse()

    async def SearchShard(self, request: shard_pb.SearchShardRequest, context: Any) -> shard_pb.SearchShardResponse:
        """Searches."""
        self.last_request = request
        await self.behaviour.apply()
        if not self.ready:
            raise Unavailable("the replica catches up")
        if not 1 <= request.k <= 1000:
            raise InvalidArgument(f"k is {request.k}", field="k")
        asked = from_bitmap(request.slots) if request.slots else self.slots
        if not asked <= self.slots:
            raise FailedPrecondition("a slot is not held here", reason="SLOTS_NOT_HELD")
        if request.vector and self.model and request.model_revision != self.model:
            raise FailedPrecondition("another model", reason="MODEL_MISMATCH", metadata={"index_model": self.model})
        await self._wait_for(request.min_sequence, context)
        if request.unless_changed_since:
            self.checks += 1
            return shard_pb.SearchShardResponse(
                applied_sequence=self.applied_sequence,
                shard=self.shard,
                replica=self.replica,
                lag=self.lag,
                model_revision=self.model if self.chunks else "",
                min_sequence_reached=self.applied_sequence >= request.min_sequence,
                version=self.version,
                unchanged=self.version == request.unless_changed_since,
            )
        self.searches += 1
        chunks = [
            chunk for chunk in self.chunks if slot_of(chunk.video_id) in asked and self._passes(chunk, request.filter)
        ]
        hits: dict[str, shard_pb.ShardHit] = {}
        legs: list[str] = []
        vector = np.frombuffer(request.vector, dtype="<f4")
        if request.vector:
            legs.append("semantic")
            for found, score in _best(chunks, lambda c: float(np.frombuffer(c.vector, "<f4") @ vector), request.k):
                _hit(hits, found).semantic_score = score
        if request.text:
            legs.append("keyword")
            words = set(words_of(request.text))
            for found, score in _best(chunks, lambda c: float(len(words & set(words_of(c.text)))), request.k):
                if score > 0:
                    hit = _hit(hits, found)
                    hit.keyword_score = score
                    if request.vector:
                        hit.semantic_score = float(np.frombuffer(found.vector, "<f4") @ vector)
        response = shard_pb.SearchShardResponse(
            hits=hits.values(),
            legs=legs,
            applied_sequence=self.applied_sequence,
            shard=self.shard,
            replica=self.replica,
            lag=self.lag,
            model_revision=self.model if self.chunks else "",
            min_sequence_reached=self.applied_sequence >= request.min_sequence,
            version=self.version,
        )
        return self._by_columns(response) if request.columns else response

    def _by_columns(self, response: shard_pb.SearchShardResponse) -> shard_pb.SearchShardResponse:
        if self.knows_columns:
            response.columns.CopyFrom(columns_of(response))
            del response.hits[:]
        return response

    @property
    def version(self) -> str:
        """Stands for what it holds; empty where it does not say."""
        if not self.says_version:
            return ""
        held = [chunk.SerializeToString(deterministic=True) for chunk in self.chunks]
        return hashlib.blake2b(b"\0".join(held), digest_size=8).hexdigest()

    async def SearchShardBatch(
        self, request: shard_pb.SearchShardBatchRequest, context: Any
    ) -> shard_pb.SearchShardBatchResponse:
        """Runs searches."""
        self.batches.append(len(request.searches))
        return shard_pb.SearchShardBatchResponse(
            responses=[await self.SearchShard(search, context) for search in request.searches]
        )

    async def GetShard(self, request: shard_pb.GetShardRequest, context: Any) -> shard_pb.GetShardResponse:
        """Says how it is."""
        return shard_pb.GetShardResponse(
            shard=self.shard,
            replica=self.replica,
            chunk_count=len(self.chunks),
            applied_sequence=self.applied_sequence,
            ready=self.ready,
            model_revision=self.model if self.chunks else "",
            lag=self.lag,
            slots=bitmap(self.slots),
            slot_table_version=self.slot_table_version,
            search_threads=self.search_threads,
        )

    async def _wait_for(self, sequence: int, context: Any) -> None:
        """Waits for events, half of the call's time at most."""
        left = context.time_remaining() if context is not None else None
        try:
            async with asyncio.timeout(left / 2 if left is not None else 0.2), self._advanced:
                await self._advanced.wait_for(lambda: self.applied_sequence >= sequence)
        except TimeoutError:
            pass

    def _passes(self, chunk: shard_pb.Chunk, wanted: shard_pb.ChunkFilter) -> bool:
        video = self.videos.get(chunk.video_id, shard_pb.IndexedVideo())
        return (
            (not wanted.video_ids or chunk.video_id in wanted.video_ids)
            and (not wanted.language or chunk.language == wanted.language)
            and (not wanted.collections or video.collection in wanted.collections)
            and (not wanted.speakers or chunk.speaker in wanted.speakers)
            and set(wanted.tags) <= set(video.tags)
            and (not wanted.HasField("uploaded_since") or _time(video.uploaded_at) >= _time(wanted.uploaded_since))
            and (not wanted.HasField("uploaded_before") or _time(video.uploaded_at) < _time(wanted.uploaded_before))
            and (not wanted.HasField("min_duration") or _time(video.duration) >= _time(wanted.min_duration))
            and (not wanted.HasField("max_duration") or _time(video.duration) <= _time(wanted.max_duration))
        )


def spread(shards: Sequence[FakeShard], *chunks: shard_pb.Chunk) -> None:
    """Puts chunks into the shards that own them, by the table that `SlotTables.load_or_create` makes."""
    for each in chunks:
        shards[slot_of(each.video_id) * len(shards) // SLOTS].chunks.append(each)


def even_table(shards: int, version: int = 1) -> SlotTable:
    """The table that `SlotTables.load_or_create` makes."""
    return SlotTable(version, shards, bytes(slot * shards // SLOTS for slot in range(SLOTS)))


def routes_of(shards: int) -> Routes:
    """Routes to so many shards, read already."""

    async def load() -> SlotTable:
        return even_table(shards)

    routes = Routes(load)
    routes.current = Route.of(even_table(shards))
    return routes


class Direct:
    """A shard without a network in between."""

    def __init__(self, fake: FakeShard) -> None:
        self.fake = fake
        self.target = f"shard-{fake.shard}"

    async def search(self, request: shard_pb.SearchShardRequest, *, timeout: float) -> shard_pb.SearchShardResponse:
        """Searches."""
        return await self.fake.SearchShard(request, None)

    async def search_many(
        self, requests: Sequence[shard_pb.SearchShardRequest], *, timeout: float
    ) -> list[shard_pb.SearchShardResponse]:
        """Searches."""
        return [await self.fake.SearchShard(request, None) for request in requests]

    async def state(self, *, timeout: float) -> shard_pb.GetShardResponse | None:
        """Says how it is."""
        return await self.fake.GetShard(shard_pb.GetShardRequest(), None)

    async def close(self) -> None:
        """Does nothing."""


def video_of_slot(slots: range, number: int = 0) -> str:
    """The id of a video that falls into one of `slots`; another one for every number."""
    ids = (f"vid_{index:026d}" for index in itertools.count())
    return next(itertools.islice((video_id for video_id in ids if slot_of(video_id) in slots), number, None))


def _time(message: Timestamp | Duration) -> float:
    return message.seconds + message.nanos / 1e9


def _best(
    chunks: list[shard_pb.Chunk], score: Callable[[shard_pb.Chunk], float], count: int
) -> list[tuple[shard_pb.Chunk, float]]:
    return sorted(((chunk, score(chunk)) for chunk in chunks), key=lambda pair: (-pair[1], pair[0].chunk_id))[:count]


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
