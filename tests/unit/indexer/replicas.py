"""Replicas with their threads, without a stream: for tests that change and search them themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.common.executor import BoundedExecutor
from services.indexer.compactor import SegmentPolicy
from services.indexer.places import Place
from services.indexer.replica import Replica, Threads
from services.indexer.snapshot import Origin, SnapshotFolder

PLACE = Place(shard=1, replica=2)
ORIGIN = Origin(PLACE.shard, "stream")


@dataclass
class RunningReplica:
    """A replica and where it lies."""

    replica: Replica
    threads: Threads
    folder: SnapshotFolder


@asynccontextmanager
async def running_replica(
    folder: Path, *, policy: SegmentPolicy | None = None, parallel: int = 2
) -> AsyncIterator[RunningReplica]:
    """A replica that is not opened yet; its threads end with it, and what it holds in memory is lost."""
    threads = Threads(
        searches=BoundedExecutor("search", threads=parallel, queue=8),
        parallel=parallel,
        writes=BoundedExecutor("writer", threads=1, queue=64),
        files=BoundedExecutor("files", threads=1, queue=16),
    )
    snapshots = SnapshotFolder(folder, ORIGIN)
    replica = Replica(place=PLACE, snapshots=snapshots, threads=threads, policy=policy or SegmentPolicy())
    try:
        yield RunningReplica(replica, threads, snapshots)
    finally:
        threads.sealing.close()
        threads.merging.close()
        threads.filling.close()
        if replica.open:
            replica.shard.close()
        for executor in (threads.searches, threads.writes, threads.files):
            executor.close()
