"""Wires the indexer."""

from __future__ import annotations

from contextlib import AsyncExitStack

from prometheus_client import Gauge

from earmark.internal.v1 import shard_service_pb2_grpc as pb_grpc
from services.common import mongo
from services.common.events.bus import EventBus
from services.common.executor import BoundedExecutor
from services.common.runner import Service
from services.common.slots import SlotTables
from services.common.videos.store import VideoStore
from services.indexer.consumer import StreamFollower, stream_identity
from services.indexer.folder_lock import folder_lock
from services.indexer.replica import Place, Replica
from services.indexer.servicer import ShardServicer
from services.indexer.settings import Settings
from services.indexer.snapshot import Origin, SnapshotFolder

PLACE_SECONDS = 5.0

CHUNKS = Gauge("earmark_indexer_chunks", "Chunks held.")
VIDEOS = Gauge("earmark_indexer_videos", "Videos held.")
APPLIED = Gauge("earmark_indexer_applied_sequence", "Last stream sequence applied.")
LAG = Gauge("earmark_indexer_lag_events", "Events of the shard's slots not yet applied.")
SNAPSHOT_AGE = Gauge("earmark_indexer_snapshot_age_seconds", "Time since the last snapshot.")
SEARCHES_PENDING = Gauge("earmark_indexer_searches_pending", "Searches running or waiting.")


async def build(settings: Settings, stack: AsyncExitStack) -> Service:
    """Connects, and gives what runs. The index is opened by the follower's task, while health says NOT_SERVING."""
    stack.enter_context(folder_lock(settings.index_dir))
    database = await mongo.connect(settings, stack)
    bus = await EventBus.connect(settings, name=f"indexer-s{settings.shard}r{settings.replica}")
    stack.push_async_callback(bus.close)
    table = await SlotTables(database).load_or_create(settings.shards)
    identity = await stream_identity(bus)

    searches = BoundedExecutor("search", threads=settings.search_threads, queue=settings.search_queue)
    writes = BoundedExecutor("index-writer", threads=1, queue=16)
    stack.callback(searches.close)
    stack.callback(writes.close)
    origin = Origin(settings.shard, settings.shards, table.version, identity)
    replica = Replica(
        place=Place(settings.shard, settings.replica, settings.shards, table.slots_of(settings.shard)),
        snapshots=SnapshotFolder(settings.index_dir, origin),
        searches=searches,
        writes=writes,
    )
    follower = StreamFollower(bus=bus, videos=VideoStore(database, bus), replica=replica, identity=identity)
    _measure(replica, follower, searches)

    async def close(_: float) -> None:
        await replica.close()

    return Service(
        servicers=[
            (
                pb_grpc.add_ShardServiceServicer_to_server,
                ShardServicer(replica=replica),
                "earmark.internal.v1.ShardService",
            )
        ],
        tasks={
            "follower": follower.run,
            "place": lambda: follower.keep_place(every_seconds=min(PLACE_SECONDS, settings.snapshot_seconds)),
            "snapshots": lambda: replica.keep_snapshots(every_seconds=settings.snapshot_seconds),
        },
        readiness={"caught_up": follower.caught_up},
        on_stop=[close],
    )


def _measure(replica: Replica, follower: StreamFollower, searches: BoundedExecutor) -> None:
    CHUNKS.set_function(lambda: replica.shard.chunk_count if replica.open else 0)
    VIDEOS.set_function(lambda: replica.shard.video_count if replica.open else 0)
    APPLIED.set_function(lambda: replica.shard.applied_sequence if replica.open else 0)
    LAG.set_function(lambda: follower.lag)
    SNAPSHOT_AGE.set_function(lambda: replica.snapshot_age_seconds)
    SEARCHES_PENDING.set_function(lambda: searches.pending)
