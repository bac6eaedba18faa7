"""Wires the indexer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog
from prometheus_client import Gauge
from pymongo.errors import PyMongoError

from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common import mongo
from services.common.errors import FailedPrecondition
from services.common.events.bus import EventBus
from services.common.executor import BoundedExecutor
from services.common.health import Health
from services.common.migrations.schema import Schema
from services.common.objects import ObjectStore
from services.common.registry import IndexerRegistry, Peer
from services.common.runner import Service
from services.common.slots import SlotTables
from services.common.videos.store import VideoStore
from services.indexer import dense_gpu
from services.indexer.builder import Builder
from services.indexer.compactor import SegmentPolicy
from services.indexer.consumer import StreamFollower, stream_identity
from services.indexer.dense import DensePolicy
from services.indexer.folder_lock import folder_lock
from services.indexer.places import Place
from services.indexer.remote import RemoteSnapshots
from services.indexer.replica import WRITER_NICENESS, Replica, Threads
from services.indexer.servicer import ShardServicer
from services.indexer.settings import Settings
from services.indexer.snapshot import Origin, SnapshotFolder
from services.indexer.tiers import MergePolicy

log = structlog.get_logger()

PLACE_SECONDS = 5.0
ANNOUNCE_SECONDS = 15.0

CHUNKS = Gauge("earmark_indexer_chunks", "Chunks held.")
DEAD = Gauge("earmark_indexer_chunks_deleted", "Chunks removed whose place is not free yet.")
VIDEOS = Gauge("earmark_indexer_videos", "Videos held.")
SLOTS = Gauge("earmark_indexer_slots", "Slots held.")
SEGMENTS = Gauge("earmark_indexer_segments", "Parts the shard is in, heads and segments.")
APPLIED = Gauge("earmark_indexer_applied_sequence", "Last stream sequence applied.")
LAG = Gauge("earmark_indexer_lag_events", "Events of the shard's slots not yet applied.")
SNAPSHOT_AGE = Gauge("earmark_indexer_snapshot_age_seconds", "Time since the last snapshot.")
SEARCHES_PENDING = Gauge("earmark_indexer_searches_pending", "Searches running or waiting.")


async def build(settings: Settings, stack: AsyncExitStack) -> Service:
    """Connects, and gives what runs. The index is opened by the follower's task, while health says NOT_SERVING."""
    stack.enter_context(folder_lock(settings.index_dir))
    database = await mongo.connect(settings, stack)
    await Schema(database).check()
    tables = SlotTables(database)
    await _check_numbering(settings, tables)
    bus = await EventBus.connect(settings, name=f"indexer-s{settings.shard}r{settings.replica}")
    stack.push_async_callback(bus.close)
    identity = await stream_identity(bus)

    threads = Threads(
        searches=BoundedExecutor("search", threads=settings.search_threads, queue=settings.search_queue),
        parallel=settings.search_threads,
        writes=BoundedExecutor("index-writer", threads=1, queue=64, niceness=WRITER_NICENESS),
        files=BoundedExecutor("index-files", threads=1, queue=16),
        filling=Builder(settings.fill_processes),
    )
    for executor in (threads.searches, threads.writes, threads.files):
        stack.callback(executor.close)
    origin = Origin(settings.shard, identity)
    snapshots = SnapshotFolder(settings.index_dir, origin)
    replica = Replica(
        place=Place(settings.shard, settings.replica), snapshots=snapshots, threads=threads, policy=_policy(settings)
    )
    remote = None
    if settings.snapshot_upload_seconds:
        objects = ObjectStore.open(settings.object_store_url)
        remote = RemoteSnapshots(objects=objects, snapshots=snapshots, origin=origin)
    follower = StreamFollower(
        bus=bus,
        videos=VideoStore(database, bus),
        tables=tables,
        replica=replica,
        remote=remote,
        identity=identity,
        shards=settings.shards,
    )
    _measure(replica, threads.searches)
    announcement = _Announcement(IndexerRegistry(database), settings)
    tasks: dict[str, Callable[[], Awaitable[None]]] = {
        "follower": follower.run,
        "slots": lambda: follower.watch_slots(every_seconds=settings.slots_every_seconds),
        "place": lambda: follower.keep_place(every_seconds=min(PLACE_SECONDS, settings.snapshot_seconds)),
        "compactor": replica.keep_compact,
        "snapshots": lambda: replica.keep_snapshots(every_seconds=settings.snapshot_seconds),
        "announcement": announcement.keep,
    }
    if remote is not None and settings.replica == 0:
        tasks["remote-snapshots"] = lambda: remote.keep(every_seconds=settings.snapshot_upload_seconds)

    async def close(_: float) -> None:
        await announcement.withdraw()
        await replica.close()

    return Service(
        bus=bus,
        servicers=[
            (
                pb_grpc.add_ShardServiceServicer_to_server,
                ShardServicer(replica=replica),
                "earmark.internal.v1.ShardService",
            )
        ],
        tasks=tasks,
        readiness={"caught_up": follower.caught_up},
        on_serving=announcement.on_serving,
        on_stop=[close],
    )


async def _check_numbering(settings: Settings, tables: SlotTables) -> None:
    """Refuses a number of shards by which indexers that have a place already would get another.

    Raises:
        FailedPrecondition: It is such a number.
    """
    begun_with = await tables.begun_with()
    if settings.numbered_by_shards and begun_with is not None and begun_with != settings.shards:
        raise FailedPrecondition(
            f"EARMARK_SHARDS is {settings.shards}, but this index was begun with {begun_with}, by which its indexers "
            f"are numbered: with another number they would change places. Set it back to {begun_with}, then run "
            f"`earmark k8s scale-shards {settings.shards}`",
            reason="INDEXERS_RENUMBERED",
        )


class _Announcement:
    """Says in MongoDB where this replica is, from the moment its server listens."""

    def __init__(self, registry: IndexerRegistry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._listening = asyncio.Event()
        self._peer = Peer(settings.shard, settings.replica, settings.advertise)

    def on_serving(self, grpc_port: int, _: Health) -> None:
        """Notes the port."""
        settings = self._settings
        target = settings.advertise or f"{settings.grpc_host}:{grpc_port}"
        self._peer = Peer(settings.shard, settings.replica, target)
        self._listening.set()

    async def keep(self) -> None:
        """Says it again and again, in case the collection was lost."""
        await self._listening.wait()
        while True:
            try:
                await self._registry.announce(self._peer)
            except PyMongoError as error:
                log.warning("indexer_not_announced", error=repr(error))
            await asyncio.sleep(ANNOUNCE_SECONDS)

    async def withdraw(self) -> None:
        """Takes it back."""
        try:
            await self._registry.withdraw(self._peer)
        except PyMongoError as error:
            log.warning("indexer_not_withdrawn", error=repr(error))


def _policy(settings: Settings) -> SegmentPolicy:
    return SegmentPolicy(
        head_rows=settings.head_rows,
        dense=DensePolicy(
            kind=settings.index_kind,
            flat_rows=settings.index_flat_rows,
            recall_target=settings.index_recall_target,
            gpu=dense_gpu.available(),
        ),
        merge=MergePolicy(
            smallest_rows=settings.head_rows, factor=settings.merge_factor, purge_seconds=settings.purge_seconds
        ),
        threads=settings.build_threads,
    )


def _measure(replica: Replica, searches: BoundedExecutor) -> None:
    CHUNKS.set_function(lambda: replica.shard.chunk_count if replica.open else 0)
    DEAD.set_function(lambda: sum(part.deleted for part in replica.shard.view.parts) if replica.open else 0)
    VIDEOS.set_function(lambda: replica.shard.video_count if replica.open else 0)
    SLOTS.set_function(lambda: len(replica.slots))
    SEGMENTS.set_function(lambda: len(replica.shard.view.parts) if replica.open else 0)
    APPLIED.set_function(lambda: replica.shard.applied_sequence if replica.open else 0)
    LAG.set_function(lambda: replica.lag)
    SNAPSHOT_AGE.set_function(lambda: replica.snapshot_age_seconds)
    SEARCHES_PENDING.set_function(lambda: searches.pending)
