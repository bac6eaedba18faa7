"""One replica: what it answers for, what it waits for, and what a snapshot of it has in."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.common.errors import InvalidArgument, Overloaded, Unavailable
from services.common.ids import SLOTS, slot_of
from services.indexer.chunks import DropSlots, Filter, Found, Query, RemoveVideo
from services.indexer.compactor import SegmentPolicy
from services.indexer.replica import Replica, SlotsNotHeld
from services.indexer.tiers import MergePolicy
from tests.support.waiting import eventually
from tests.unit.indexer.builders import ALL_SLOTS, MODEL, chunk, found_chunk, put, replace, vector_of
from tests.unit.indexer.replicas import RunningReplica, running_replica

VIDEOS = [f"vid_{letter}" for letter in "abcdef"]
SLOT = {video_id: slot_of(video_id) for video_id in VIDEOS}


def query(text: str = "apple", *, slots: frozenset[int] | None = None, k: int = 100, near: str = "") -> Query:
    return Query(vector_of(near) if near else None, MODEL, text, k, slots=slots)


def videos(found: Found) -> list[str]:
    return sorted(found_chunk(hit).video_id for hit in found.hits)


async def one(replica: Replica, asked: Query) -> list[str]:
    (found,) = await replica.search([asked])
    return videos(found)


@pytest.fixture
async def replica(running: RunningReplica) -> Replica:
    """Ready, with one chunk of every video, all slots held."""
    assert len(set(SLOT.values())) == len(VIDEOS)
    replica = running.replica
    replica.hold(ALL_SLOTS)
    replica.ready = True
    await replica.apply([replace(video_id, f"apple {video_id}") for video_id in VIDEOS])
    return replica


@asynccontextmanager
async def busy(running: RunningReplica) -> AsyncIterator[None]:
    """Keeps every search thread busy: searches wait until this ends."""
    gate = threading.Event()
    begun = threading.Barrier(running.threads.parallel + 1)

    def block() -> None:
        begun.wait(20)
        gate.wait(20)

    blocked = [asyncio.ensure_future(running.threads.searches.run(block)) for _ in range(running.threads.parallel)]
    await asyncio.to_thread(begun.wait, 20)
    try:
        yield
    finally:
        gate.set()
        await asyncio.gather(*blocked)


# ── slots ────────────────────────────────────────────────────────────────────────────────────────


async def test_every_slot_held_is_answered_for_when_none_is_named(replica: Replica) -> None:
    assert await one(replica, query()) == VIDEOS
    assert await one(replica, query(slots=ALL_SLOTS)) == VIDEOS


async def test_only_the_slots_asked_for_are_answered_for(replica: Replica) -> None:
    some = frozenset({SLOT["vid_a"], SLOT["vid_c"]})
    assert await one(replica, query(slots=some)) == ["vid_a", "vid_c"]
    assert await one(replica, query("", near="apple", slots=some)) == ["vid_a", "vid_c"]
    assert await one(replica, query(slots=ALL_SLOTS - some)) == ["vid_b", "vid_d", "vid_e", "vid_f"]


async def test_a_slot_that_is_not_held_is_refused_and_nothing_is_answered(replica: Replica) -> None:
    replica.hold(ALL_SLOTS - {SLOT["vid_a"]})
    with pytest.raises(SlotsNotHeld) as refused:
        await one(replica, query(slots=ALL_SLOTS))
    assert (refused.value.reason, refused.value.code) == ("SLOTS_NOT_HELD", "FAILED_PRECONDITION")
    with pytest.raises(SlotsNotHeld):
        await replica.search([query(), query(slots=frozenset({SLOT["vid_a"]}))])
    with pytest.raises(SlotsNotHeld):
        await replica.digests([SLOT["vid_b"], SLOT["vid_a"]])


async def test_while_slots_come_or_go_only_whole_ones_are_answered_for(replica: Replica) -> None:
    """Chunks of vid_a are here, and its slot is not held whole: none of them is found."""
    replica.filling = True
    replica.hold(ALL_SLOTS - {SLOT["vid_a"]})
    assert await one(replica, query()) == VIDEOS[1:]
    assert await one(replica, query("", near="apple")) == VIDEOS[1:]
    replica.hold(ALL_SLOTS)
    replica.filling = False
    assert await one(replica, query()) == VIDEOS


async def test_a_search_that_waited_answers_as_of_when_it_came(running: RunningReplica, replica: Replica) -> None:
    """A slot went, and another came half, between the call and the moment a thread was free."""
    gone, come = SLOT["vid_a"], slot_of("vid_new")
    async with busy(running):
        waiting = asyncio.ensure_future(one(replica, query(slots=ALL_SLOTS)))
        await eventually(lambda: running.threads.searches.pending == 3)
        replica.filling = True
        replica.hold(ALL_SLOTS - {gone, come})
        await replica.apply([DropSlots(frozenset({gone})), replace("vid_new", "apple new")])
        assert replica.shard.chunk_count == len(VIDEOS)
    assert await waiting == VIDEOS


async def test_chunks_of_a_slot_that_is_not_held_are_not_taken(replica: Replica) -> None:
    replica.hold(frozenset({SLOT["vid_b"]}))
    replica.check_owned("vid_b")
    with pytest.raises(InvalidArgument) as refused:
        replica.check_owned("vid_a")
    assert refused.value.field == "chunks.video_id"
    replica.ready = False
    with pytest.raises(Unavailable):  # it may be held in a moment
        replica.check_owned("vid_a")


# ── being ready ──────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_answered_before_it_is_open_and_caught_up(tmp_path: Path) -> None:
    async with running_replica(tmp_path) as running:
        with pytest.raises(Unavailable, match="loading"):
            _ = running.replica.shard
        with pytest.raises(Unavailable) as refused:
            await one(running.replica, query())
        assert refused.value.transient
        running.replica.begin_anew()
        with pytest.raises(Unavailable):
            await running.replica.apply_durably(RemoveVideo("vid_a"))
        running.replica.ready = True
        assert await one(running.replica, query()) == []


async def test_it_waits_for_a_sequence(replica: Replica) -> None:
    assert await replica.reached(0, timeout=5)
    assert not await replica.reached(7, timeout=0.05)
    waiting = [asyncio.ensure_future(replica.reached(sequence, timeout=20)) for sequence in (5, 7, 7)]
    await replica.advance(6)
    assert await waiting[0]
    assert not waiting[1].done()
    await replica.advance(8)
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert replica.shard.applied_sequence == 8
    await replica.advance(3)  # it never goes back
    assert replica.shard.applied_sequence == 8


async def test_waiting_begins_before_there_is_a_shard(tmp_path: Path) -> None:
    async with running_replica(tmp_path) as running:
        waiting = asyncio.ensure_future(running.replica.reached(4, timeout=20))
        assert not await running.replica.reached(4, timeout=0.05)
        running.replica.begin_anew()
        await running.replica.advance(4)
        assert await waiting


# ── searching ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
async def test_many_searches_give_what_each_alone_gives_in_order(replica: Replica, count: int) -> None:
    asked = [query(f"apple vid_{'abcdef'[n % 6]}", near=["", "apple vid_b"][n % 2], k=1 + n % 4) for n in range(count)]
    together = await replica.search(asked)
    alone = [(await replica.search([single]))[0] for single in asked]
    assert [sorted((hit.number, hit.keyword_score) for hit in found.hits) for found in together] == [
        sorted((hit.number, hit.keyword_score) for hit in found.hits) for found in alone
    ]
    assert [found.legs for found in together] == [found.legs for found in alone]


async def test_many_searches_are_spread_over_the_threads(running: RunningReplica, replica: Replica) -> None:
    async with busy(running):
        waiting = asyncio.ensure_future(replica.search([query()] * 6))
        # Two threads are busy, and two lots wait for them.
        await eventually(lambda: running.threads.searches.pending == 4)
    assert [videos(found) for found in await waiting] == [VIDEOS] * 6


async def test_too_many_searches_are_refused(running: RunningReplica, replica: Replica) -> None:
    async with busy(running):
        waiting = [asyncio.ensure_future(one(replica, query())) for _ in range(8)]
        await eventually(lambda: running.threads.searches.pending == 10)
        with pytest.raises(Overloaded):
            await one(replica, query())
    assert await asyncio.gather(*waiting) == [VIDEOS] * 8


async def test_a_wrong_search_of_many_fails_all(replica: Replica) -> None:
    with pytest.raises(InvalidArgument):
        await replica.search([query(), query(k=0)])


# ── changing, snapshots ──────────────────────────────────────────────────────────────────────────


async def test_a_durable_change_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running_replica(tmp_path) as running:
        running.replica.begin_anew()
        running.replica.hold(frozenset({1, 2}))
        running.replica.ready = True
        await running.replica.apply_durably(put(chunk("vid_a", "apple"), chunk("vid_b", "apple")))
        assert (await running.replica.apply_durably(RemoveVideo("vid_b"))).removed == 1
        with pytest.raises(InvalidArgument):
            await running.replica.apply_durably(put(chunk("vid_c", "x"), chunk("vid_c", "y")))
    async with running_replica(tmp_path) as again:
        assert await again.replica.restore() is not None
        assert (again.replica.origin, again.replica.slots) == ("snapshot", {1, 2})
        assert again.replica.shard.chunk_count == 1
        assert not again.replica.ready


async def test_a_snapshot_is_taken_when_there_is_news_and_only_then(running: RunningReplica, replica: Replica) -> None:
    await replica.advance(3)
    await replica.snapshot()
    first = running.folder.newest()
    assert replica.snapshot_sequence == 3
    await replica.snapshot()
    await replica.apply([replace("vid_a", "apple vid_a")])  # as it is
    await replica.snapshot()
    assert running.folder.newest() == first
    news: list[Callable[[], object]] = [
        lambda: replica.apply([replace("vid_a", "pear")]),
        lambda: replica.apply([replace("vid_a", "pear", title="New")]),
        lambda: replica.advance(9),
        lambda: replica.hold(frozenset({5})),
    ]
    for change in news:
        before = running.folder.newest()
        done = change()
        if asyncio.iscoroutine(done):
            await done
        await replica.snapshot()
        assert running.folder.newest() != before
    assert replica.snapshot_sequence == 9


async def test_what_was_merged_is_not_merged_again_by_a_restart(tmp_path: Path) -> None:
    policy = SegmentPolicy(merge=MergePolicy(smallest_rows=4, factor=2))
    async with running_replica(tmp_path, policy=policy) as running:
        replica = running.replica
        replica.begin_anew()
        for video_id in VIDEOS[:2]:
            await replica.apply([replace(video_id, "apple")])
            await replica.snapshot()
        before = running.folder.newest()
        assert await replica.opened.compactor.compact()
        await replica.snapshot()
        merged = running.folder.newest()
        assert merged != before
        await replica.snapshot()
        assert running.folder.newest() == merged
        loaded = running.folder.load()
        assert loaded is not None
        assert [part.alive.count for part in loaded.shard.segments] == [2]


async def test_what_is_in_memory_alone_is_sealed_by_a_snapshot(running: RunningReplica, replica: Replica) -> None:
    await replica.snapshot()
    loaded = running.folder.load()
    assert loaded is not None
    assert loaded.shard.chunk_count == len(VIDEOS)


async def test_a_slot_that_goes_while_a_snapshot_is_made_is_not_said_to_be_held(
    running: RunningReplica, replica: Replica
) -> None:
    """Else a restart would take the slot for held, with nothing in it."""
    gone = SLOT["vid_a"]
    building = running.threads.sealing._free
    async with building:
        snapshot = asyncio.ensure_future(replica.snapshot())
        await eventually(lambda: replica.shard.frozen)
        replica.hold(ALL_SLOTS - {gone})
        await replica.apply([DropSlots(frozenset({gone}))])
    await snapshot
    loaded = running.folder.load()
    assert loaded is not None
    assert loaded.slots == ALL_SLOTS - {gone}
    assert loaded.shard.chunk_count == len(VIDEOS) - 1


async def test_a_disk_that_takes_no_snapshot_is_said_and_tried_again(running: RunningReplica, replica: Replica) -> None:
    await replica.advance(5)
    kept = running.folder.root.rename(running.folder.root.with_name("kept"))
    running.folder.root.write_text("a file")
    with pytest.raises(Unavailable):
        await replica.snapshot()
    assert replica.snapshot_sequence == 0
    assert await one(replica, query()) == VIDEOS
    running.folder.root.unlink()
    kept.rename(running.folder.root)
    await replica.snapshot()
    assert replica.snapshot_sequence == 5


async def test_what_was_damaged_is_not_in_a_snapshot_before_it_is_mended(tmp_path: Path) -> None:
    async with running_replica(tmp_path) as running:
        running.replica.begin_anew()
        running.replica.hold(ALL_SLOTS)
        await running.replica.apply([replace("vid_a", "apple")])
        await running.replica.snapshot()
        (segment,) = running.folder.segments.iterdir()
    (segment / "records.bin").write_bytes(b"rubbish")
    async with running_replica(tmp_path) as again:
        loaded = await again.replica.restore()
        assert loaded is not None
        assert loaded.damaged == {"vid_a"}
        before = again.folder.newest()
        await again.replica.apply([replace("vid_b", "pear")])
        await again.replica.snapshot()
        assert again.folder.newest() == before
        await again.replica.apply([replace("vid_a", "apple")])
        again.replica.repaired_all()
        await again.replica.snapshot()
        assert again.folder.newest() != before
        assert [said.split(":")[0] for said in again.replica.repaired] == [segment.name]


async def test_digests_are_of_the_slots_asked_for(replica: Replica) -> None:
    await replica.advance(4)
    digests, sequence = await replica.digests([SLOT["vid_b"], SLOT["vid_a"]])
    assert sequence == 4
    assert [(one.slot, one.chunks) for one in digests] == [(SLOT["vid_b"], 1), (SLOT["vid_a"], 1)]
    assert digests[0].digest != digests[1].digest
    before = digests
    await replica.snapshot()
    assert (await replica.digests([SLOT["vid_b"], SLOT["vid_a"]]))[0] == before  # whether sealed or not
    await replica.apply([replace("vid_a", "pear")])
    after, _ = await replica.digests([SLOT["vid_b"], SLOT["vid_a"]])
    assert after[0] == before[0]
    assert after[1].digest != before[1].digest
    empty, _ = await replica.digests([next(slot for slot in range(SLOTS) if slot not in SLOT.values())])
    assert empty[0].chunks == 0


# ── building anew ────────────────────────────────────────────────────────────────────────────────


async def test_one_built_beside_takes_over_without_a_gap(running: RunningReplica, replica: Replica) -> None:
    await replica.advance(6)
    compacting = asyncio.create_task(replica.keep_compact())
    beside = replica.beside()
    beside.shard.apply([replace(video_id, f"apple {video_id}") for video_id in VIDEOS[:4]])
    assert await one(replica, query()) == VIDEOS  # the old one answers
    async with busy(running):
        waiting = asyncio.ensure_future(one(replica, query(near="apple")))
        await eventually(lambda: running.threads.searches.pending == 3)
        replica.replace(beside)
    assert await waiting == VIDEOS  # it began on the old one, and ends there
    assert await one(replica, query()) == VIDEOS[:4]
    assert replica.shard.applied_sequence == 6
    await replica.snapshot()
    assert not compacting.done()
    compacting.cancel()
    await asyncio.gather(compacting, return_exceptions=True)


async def test_segments_of_one_built_beside_are_not_pruned_before_it_takes_over(
    running: RunningReplica, replica: Replica
) -> None:
    beside = replica.beside()
    beside.shard.apply([replace("vid_a", "apple")])
    beside.shard.freeze()
    await beside.compactor.seal()
    await replica.snapshot()
    ours = {part.part.segment_id for part in beside.shard.segments}
    assert ours <= {path.name for path in running.folder.segments.iterdir()}


async def test_closing_takes_a_last_snapshot(tmp_path: Path) -> None:
    async with running_replica(tmp_path) as running:
        running.replica.begin_anew()
        await running.replica.apply([replace("vid_a", "apple")])
        running.replica.ready = True
        await running.replica.close()
        assert not running.replica.open
        with pytest.raises(Unavailable):
            await one(running.replica, query())
        loaded = running.folder.load()
        assert loaded is not None
        assert loaded.shard.chunk_count == 1


async def test_a_burst_waits_for_the_disk_and_loses_nothing(tmp_path: Path) -> None:
    async with running_replica(tmp_path, policy=SegmentPolicy(head_rows=2)) as running:
        replica = running.replica
        replica.begin_anew()
        replica.hold(ALL_SLOTS)
        replica.ready = True
        for number in range(30):
            await replica.apply([replace(f"vid_{number:02d}", "apple")])
        assert len(replica.shard.frozen) <= 4
        assert len(await one(replica, query())) == 30
        assert (await replica.search([Query(None, "", "apple", 100, Filter(frozenset({"vid_07"})))]))[0].hits != []
