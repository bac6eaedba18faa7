"""Snapshots on their way to the object store and back, while others look at the folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.common.objects import ObjectStore
from services.indexer.remote import RemoteSnapshots
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder, State
from tests.support import eventually
from tests.unit.indexer.builders import ALL_SLOTS

ORIGIN = Origin(0, "stream")


def written(folder: Path) -> SnapshotFolder:
    """A folder with a snapshot of an empty shard."""
    snapshots = SnapshotFolder(folder, ORIGIN)
    snapshots.write(State.of(Shard(), applied_sequence=3, slots=ALL_SLOTS))
    return snapshots


async def test_a_snapshot_that_is_being_fetched_is_not_there_before_all_of_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    source = written(tmp_path / "source")
    newest = source.newest()
    assert newest is not None
    await RemoteSnapshots(objects=objects, snapshots=source, origin=ORIGIN).store(newest)
    target = SnapshotFolder(tmp_path / "target", ORIGIN)
    seen = []

    async def slow(_: ObjectStore, key: str) -> AsyncIterator[bytes]:
        data = await objects.get(key)
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            seen.append(target.newest())
            yield half

    monkeypatch.setattr(ObjectStore, "stream", slow)
    assert await RemoteSnapshots(objects=objects, snapshots=target, origin=ORIGIN).fetch()
    assert seen == [None] * 4
    loaded = target.load()
    assert loaded is not None
    assert loaded.shard.applied_sequence == 3


async def test_a_damaged_snapshot_does_not_end_the_keeping_of_later_ones(tmp_path: Path) -> None:
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    snapshots = written(tmp_path / "source")
    newest = snapshots.newest()
    assert newest is not None
    newest.write_bytes(b"{rubbish")
    remote = RemoteSnapshots(objects=objects, snapshots=snapshots, origin=ORIGIN)
    keeping = asyncio.create_task(remote.keep(every_seconds=0.01))
    try:
        await asyncio.sleep(0.1)
        assert await objects.list("index/") == []
        snapshots.write(State.of(Shard(), applied_sequence=4, slots=ALL_SLOTS))

        async def stored() -> bool:
            return len(await objects.list("index/")) == 2

        await eventually(stored, 30)
        assert not keeping.done()
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
