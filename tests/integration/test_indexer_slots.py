"""Slots that move between indexers, replicas that agree, and what a replica does when its disk is lost."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.ids import SLOTS, new_video_id, slot_of
from services.common.rpc import from_rpc
from services.common.slots import SlotTable, SlotTables
from services.common.videos.model import SliceState, VideoStatus
from services.indexer.settings import Settings
from tests.integration.indexer_support import (
    Indexer,
    add_slice,
    add_video,
    indexer,
    indexer_settings,
    records,
    spawned,
    video_in,
)
from tests.support.mesh import Backbone
from tests.support.waiting import eventually
from tests.unit.indexer.builders import MODEL

SLOT = 5  # of shard 0, of two


def two_shards(backbone: Backbone, folder: Path, shard: int, **changes: object) -> Settings:
    return indexer_settings(
        backbone.settings,
        folder / f"shard{shard}",
        shards=2,
        indexer_ordinal=shard,
        slots_every_seconds=0.05,
        **changes,
    )


@asynccontextmanager
async def both(backbone: Backbone, folder: Path) -> AsyncIterator[tuple[Indexer, Indexer]]:
    async with indexer(two_shards(backbone, folder, 0)) as zero, indexer(two_shards(backbone, folder, 1)) as one:
        await zero.until_serving()
        await one.until_serving()
        yield zero, one


async def ready(backbone: Backbone, *videos: str) -> bool:
    return all([(await backbone.videos.get(video_id)).status is VideoStatus.READY for video_id in videos])


async def holds(one: Indexer, slot: int) -> bool:
    return slot in await one.held()


async def has(one: Indexer, chunks: int) -> bool:
    return (await one.state()).chunk_count == chunks


async def table(backbone: Backbone) -> SlotTable:
    loaded = await SlotTables(backbone.database).load()
    assert loaded is not None
    return loaded


async def begin(backbone: Backbone, targets: Mapping[int, int]) -> None:
    assert await SlotTables(backbone.database).begin(await table(backbone), targets)


async def finish(backbone: Backbone, *slots: int) -> None:
    assert await SlotTables(backbone.database).finish(await table(backbone), slots)


async def texts(one: Indexer, *slots: int) -> list[str]:
    return sorted(hit.chunk.text for hit in (await one.search("apple", k=1000, slots=slots)).hits)


async def refuses(one: Indexer, slot: int) -> bool:
    """Whether it says that it does not hold the slot, to a search and to who wants to compare copies."""
    for call in (lambda: one.search("apple", slots=[slot]), lambda: one.describe([slot])):
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            said = from_rpc(error, peer="indexer")
            assert (said.code, said.reason) == ("FAILED_PRECONDITION", "SLOTS_NOT_HELD")
        else:
            return False
    return True


# ── slots on the move ────────────────────────────────────────────────────────────────────────────


async def test_a_slot_moves_while_events_come(backbone: Backbone, tmp_path: Path) -> None:
    async with both(backbone, tmp_path) as (zero, one):
        first = await add_video(backbone, [["apple 1"], ["apple 2"]], video_id=video_in(SLOT), tags=["red"])
        stays = await add_video(backbone, [["apple of zero"]], video_id=video_in(SLOT + 1))
        there = await add_video(backbone, [["apple of one"]], video_id=video_in(200))
        await eventually(lambda: ready(backbone, first, stays, there), 20)
        assert await refuses(one, SLOT)

        await begin(backbone, {SLOT: 1})
        await eventually(lambda: holds(one, SLOT), 20)
        assert await texts(one, SLOT) == await texts(zero, SLOT) == ["apple 1", "apple 2"]
        assert await texts(one, 200) == ["apple of one"]
        # Both follow its events from here on.
        more = await add_video(backbone, [["apple 3"]], video_id=video_in(SLOT))
        await backbone.videos.describe(first, {"title": "New", "tags": ["green"]})
        await backbone.videos.mark_deleting(more)
        last = await add_video(backbone, [["apple 4"]], video_id=video_in(SLOT))
        await eventually(lambda: ready(backbone, last), 20)
        end = await backbone.bus.last_sequence()
        copies = [await indexed.describe([SLOT], min_sequence=end) for indexed in (zero, one)]
        assert copies[0] == copies[1]
        assert copies[0][SLOT][0] == 3

        tables = SlotTables(backbone.database)
        assert await tables.switch(await table(backbone), [SLOT])
        assert await texts(one, SLOT) == await texts(zero, SLOT) == ["apple 1", "apple 2", "apple 4"]
        await finish(backbone, SLOT)
        await eventually(lambda: refuses(zero, SLOT), 20)
        assert await texts(zero) == ["apple of zero"]
        assert await texts(one) == ["apple 1", "apple 2", "apple 4", "apple of one"]
        await eventually(lambda: has(zero, 1), 20)
        assert SLOT not in await zero.held()
        # And so it stays after a restart of the source.
    async with indexer(two_shards(backbone, tmp_path, 0)) as zero:
        await zero.until_serving()
        assert await refuses(zero, SLOT)
        assert await texts(zero) == ["apple of zero"]
        assert (await zero.state()).origin == "snapshot"


async def test_a_move_that_is_called_off_leaves_no_copy(backbone: Backbone, tmp_path: Path) -> None:
    async with both(backbone, tmp_path) as (zero, one):
        video_id = await add_video(backbone, [["apple 1"]], video_id=video_in(SLOT))
        await eventually(lambda: ready(backbone, video_id), 20)
        await begin(backbone, {SLOT: 1})
        await eventually(lambda: holds(one, SLOT), 20)
        await finish(backbone, SLOT)  # while it is still copying
        await eventually(lambda: refuses(one, SLOT), 20)
        await eventually(lambda: has(one, 0), 20)
        assert await texts(zero, SLOT) == ["apple 1"]
        # It can come again, and is whole again.
        other = await add_video(backbone, [["apple 2"]], video_id=video_in(SLOT))
        await eventually(lambda: ready(backbone, other), 20)
        await begin(backbone, {SLOT: 1})
        await eventually(lambda: holds(one, SLOT), 20)
        assert await texts(one, SLOT) == ["apple 1", "apple 2"]


@pytest.mark.slow
async def test_a_filling_that_was_killed_begins_again_and_doubles_nothing(backbone: Backbone, tmp_path: Path) -> None:
    """Nobody has indexed these videos yet, so that the filling has slices to move on, after their chunks are there."""
    await SlotTables(backbone.database).load_or_create(2)
    videos = [await add_video(backbone, [[f"apple {n}"], [f"pear {n}"]], video_id=video_in(SLOT)) for n in range(40)]
    await begin(backbone, {SLOT: 1})
    settings = two_shards(backbone, tmp_path, 1, snapshot_seconds=0.05)
    async with spawned(settings, tmp_path / "log") as one:

        async def in_the_middle() -> bool:
            try:
                state = await one.state()
            except grpc.aio.AioRpcError:
                return False
            return state.chunk_count > 0 and bool(list((settings.index_dir / "snapshots").glob("*.json")))

        await eventually(in_the_middle, 60)
        assert one.process is not None
        one.process.kill()
    before = [json.loads(path.read_bytes()) for path in (settings.index_dir / "snapshots").glob("*.json")]
    async with spawned(settings, tmp_path / "log") as one:
        await one.until_serving()
        await eventually(lambda: holds(one, SLOT), 30)
        await eventually(lambda: ready(backbone, *videos), 30)
        assert await texts(one, SLOT) == sorted(f"apple {n}" for n in range(40))
        state = await one.state()
        assert (state.chunk_count, state.video_count) == (80, 40), before
        assert (await one.describe([SLOT]))[SLOT][0] == 80


async def test_a_shard_without_slots_serves_and_answers_nothing(backbone: Backbone, tmp_path: Path) -> None:
    await SlotTables(backbone.database).load_or_create(1)
    await add_video(backbone, [["apple"]])
    async with indexer(two_shards(backbone, tmp_path, 1, indexer_places="s0r0,s1r0")) as one:
        await one.until_serving()
        assert await one.held() == frozenset()
        assert await texts(one) == []
        assert (await one.state()).origin == "empty"


# ── replicas ─────────────────────────────────────────────────────────────────────────────────────


async def test_replicas_cut_in_other_ways_hold_the_same(backbone: Backbone, tmp_path: Path) -> None:
    """One seals every three chunks and merges by two, one keeps all in memory, one comes later."""
    quick = indexer_settings(backbone.settings, tmp_path / "0", head_rows=3, merge_factor=2, snapshot_seconds=0.1)
    lazy = indexer_settings(backbone.settings, tmp_path / "1", indexer_ordinal=1)
    late = indexer_settings(backbone.settings, tmp_path / "2", indexer_ordinal=2)
    async with indexer(quick) as first, indexer(lazy) as second:
        await first.until_serving()
        await second.until_serving()
        videos = [await add_video(backbone, [[f"apple {n}", f"pear {n}"]], speaker="Ann") for n in range(12)]
        await eventually(lambda: ready(backbone, *videos), 30)
        for number, video_id in enumerate(videos):
            if number % 3 == 0:
                await backbone.videos.mark_deleting(video_id)
            elif number % 3 == 1:
                await backbone.videos.describe(video_id, {"collection": "garden", "tags": ["b", "a"]})
        end = await backbone.bus.last_sequence()
        async with indexer(late) as third:
            await third.until_serving()
            everyone = (first, second, third)
            copies = [await one.describe(range(SLOTS), min_sequence=end) for one in everyone]
            assert copies[0] == copies[1] == copies[2]
            assert sum(count for count, _ in copies[0].values()) == 16
            answers = [await texts(one) for one in everyone]
            assert answers[0] == answers[1] == answers[2]
            assert len(answers[0]) == 8
        cut = [{part.segment_id for part in (await one.state()).segments} for one in (first, second)]
        assert cut[0] != cut[1]


async def test_a_search_waits_for_the_events_it_must_have_in(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        for number in range(3):
            await add_video(backbone, [[f"apple {number}"]])
            found = await one.search("apple", min_sequence=await backbone.bus.last_sequence())
            assert found.min_sequence_reached
            assert len(found.hits) == number + 1
        beyond = await backbone.bus.last_sequence() + 1000
        request = pb.SearchShardRequest(text="apple", k=10, min_sequence=beyond)
        found = await one.stub.SearchShard(request, timeout=1)  # answers all the same, and says so
        assert not found.min_sequence_reached
        assert len(found.hits) == 3
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.stub.DescribeSlots(pb.DescribeSlotsRequest(slots=[1], min_sequence=beyond), timeout=1)
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_index_token_is_enough_to_find_what_it_stands_for(backbone: Backbone, tmp_path: Path) -> None:
    """`index_sequence` of a ready video, asked of a replica that has not seen it yet."""
    other = indexer_settings(backbone.settings, tmp_path / "1", indexer_ordinal=1)
    async with indexer(indexer_settings(backbone.settings, tmp_path / "0")) as first, indexer(other) as second:
        await first.until_serving()
        await second.until_serving()
        for number in range(10):
            video_id = await add_video(backbone, [[f"apple {number}"]])
            await eventually(lambda video_id=video_id: ready(backbone, video_id), 20)
            sequence = (await backbone.videos.get(video_id)).index_sequence
            assert sequence > 0
            for one in (first, second):
                found = await one.search(f'"apple {number}"', min_sequence=sequence)
                assert found.min_sequence_reached
                assert [hit.chunk.video_id for hit in found.hits] == [video_id]


# ── built anew, from a store, from the documents ─────────────────────────────────────────────────


async def test_a_rebuild_goes_on_beside_searches_and_gives_the_same(backbone: Backbone, tmp_path: Path) -> None:
    async with indexer(indexer_settings(backbone.settings, tmp_path, head_rows=8)) as one:
        await one.until_serving()
        videos = [await add_video(backbone, [[f"apple {n}", f"pear {n}"]], tags=["red"]) for n in range(15)]
        await eventually(lambda: ready(backbone, *videos), 30)
        goes = await add_video(backbone, [["apple gone"]])
        await eventually(lambda: ready(backbone, goes), 20)
        await backbone.videos.mark_deleting(goes)
        end = await backbone.bus.last_sequence()
        before, answer = await one.describe(range(SLOTS), min_sequence=end), await texts(one)
        over, searches = asyncio.Event(), 0

        async def search() -> None:
            nonlocal searches
            while not over.is_set():
                assert await texts(one) == answer
                assert len((await one.search(near="apple 3", k=1000)).hits) == 30
                searches += 1

        searching = asyncio.create_task(search())
        await one.stub.RebuildShard(pb.RebuildShardRequest())
        await one.stub.RebuildShard(pb.RebuildShardRequest())  # once more changes nothing

        async def rebuilt() -> bool:
            assert not searching.done() or searching.result() is None
            state = await one.state()
            return state.rebuilds == 1 and not state.rebuilding

        await eventually(rebuilt, 60, retry_on=())
        over.set()
        await searching
        assert searches > 0
        later = await add_video(backbone, [["apple later"]])
        await eventually(lambda: ready(backbone, later), 20)
        assert await one.describe(set(range(SLOTS)) - {slot_of(later)}) == {
            slot: state for slot, state in before.items() if slot != slot_of(later)
        }
        assert await texts(one) == sorted([*answer, "apple later"])


def stored(backbone: Backbone) -> Path:
    return Path(backbone.settings.object_store_url.removeprefix("file://")) / "index" / "shard-0000"


async def store_has(backbone: Backbone, sequence: int) -> bool:
    """Whether the newest snapshot in the store has an event in."""
    newest = max(stored(backbone).glob("snapshots/*.json"), default=None)
    return newest is not None and json.loads(newest.read_bytes())["applied_sequence"] >= sequence


def uploading(backbone: Backbone, folder: Path, **changes: object) -> Settings:
    return indexer_settings(
        backbone.settings, folder, snapshot_seconds=0.05, snapshot_upload_seconds=0.1, head_rows=4, **changes
    )


@asynccontextmanager
async def in_the_store(backbone: Backbone, folder: Path) -> AsyncIterator[Indexer]:
    """An indexer with ten videos, that are in a snapshot in the store."""
    async with indexer(uploading(backbone, folder)) as one:
        await one.until_serving()
        videos = [await add_video(backbone, [[f"apple {n}"]], collection="garden") for n in range(10)]
        await eventually(lambda: ready(backbone, *videos), 30)
        end = await backbone.bus.last_sequence()
        await one.describe([0], min_sequence=end)
        await eventually(lambda: store_has(backbone, end), 30)
        yield one


APPLES = sorted(f"apple {n}" for n in range(10))


async def test_a_lost_disk_and_a_new_replica_start_from_the_store(backbone: Backbone, tmp_path: Path) -> None:
    async with in_the_store(backbone, tmp_path / "0") as one:
        before = await one.describe(range(SLOTS))
    shutil.rmtree(tmp_path / "0")
    later = await add_video(backbone, [["apple later"]])
    for ordinal in (0, 1):
        async with indexer(uploading(backbone, tmp_path / str(ordinal), indexer_ordinal=ordinal)) as again:
            await again.until_serving()
            state = await again.state()
            assert (state.origin, list(state.repaired)) == ("object_store", [])
            assert await texts(again) == [*APPLES, "apple later"]
            others = set(range(SLOTS)) - {slot_of(later)}
            assert await again.describe(others) == {slot: before[slot] for slot in others}
            await eventually(lambda: ready(backbone, later), 20)


async def test_what_is_damaged_in_the_store_is_filled_in_from_the_documents(backbone: Backbone, tmp_path: Path) -> None:
    async with in_the_store(backbone, tmp_path / "0") as one:
        before = await one.describe(range(SLOTS))
    shutil.rmtree(tmp_path / "0")
    newest = json.loads(max(stored(backbone).glob("snapshots/*.json")).read_bytes())
    (stored(backbone) / "segments" / newest["segments"][0] / "vectors.f16").write_bytes(b"rubbish")
    async with indexer(uploading(backbone, tmp_path / "0")) as again:
        await again.until_serving()
        state = await again.state()
        assert state.origin == "object_store"
        assert [said.split(":")[0] for said in state.repaired] == newest["segments"][:1]
        assert await again.describe(range(SLOTS)) == before


@pytest.mark.parametrize(
    "damage", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("state", "json", "segments")), "none"]
)
async def test_without_a_sound_snapshot_in_the_store_the_documents_do(
    backbone: Backbone, tmp_path: Path, damage: str
) -> None:
    async with in_the_store(backbone, tmp_path / "0") as one:
        before = await one.describe(range(SLOTS))
    shutil.rmtree(tmp_path / "0")
    for path in stored(backbone).glob(f"snapshots/*.{damage}"):
        path.write_bytes(b"{rubbish")
    if damage == "segments":
        shutil.rmtree(stored(backbone) / "segments")
    if damage == "none":
        shutil.rmtree(stored(backbone))
    async with indexer(uploading(backbone, tmp_path / "0")) as again:
        await again.until_serving()
        assert (await again.state()).origin == "rebuild"
        assert await texts(again) == APPLES
        assert await again.describe(range(SLOTS)) == before
        # What it puts into the store then is the newest there, though it counts anew.
        new = await add_video(backbone, [["apple new"]])
        await eventually(lambda: ready(backbone, new), 20)
        end = await backbone.bus.last_sequence()
        await again.describe([0], min_sequence=end)
        await eventually(lambda: store_has(backbone, end), 30)
    shutil.rmtree(tmp_path / "0")
    async with indexer(uploading(backbone, tmp_path / "0")) as third:
        await third.until_serving()
        assert (await third.state()).origin == "object_store"
        assert await texts(third) == [*APPLES, "apple new"]


@pytest.mark.slow
async def test_the_store_keeps_no_more_than_is_needed(backbone: Backbone, tmp_path: Path) -> None:
    async with in_the_store(backbone, tmp_path / "0"):
        for number in range(4):
            video_id = await add_video(backbone, [[f"pear {number}", f"plum {number}"]])
            await eventually(lambda video_id=video_id: ready(backbone, video_id), 20)
            end = await backbone.bus.last_sequence()
            await eventually(lambda end=end: store_has(backbone, end - 1), 30)

        def tidy() -> bool:
            manifests = sorted(stored(backbone).glob("snapshots/*.json"))
            wanted = {name for path in manifests for name in json.loads(path.read_bytes())["segments"]}
            there = {path.name for path in (stored(backbone) / "segments").iterdir() if any(path.iterdir())}
            return len(manifests) <= 2 and there == wanted

        await eventually(tidy, 30, retry_on=(OSError, ValueError))


async def test_a_slice_whose_event_is_yet_to_come_is_moved_on_once(backbone: Backbone, tmp_path: Path) -> None:
    """A filling moves on what it finds embedded; the event that comes afterwards finds it done."""
    video_id = await add_video(backbone, [["apple 1"], ["apple 2"]])
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        await eventually(lambda: ready(backbone, video_id), 20)
        video = await backbone.videos.get(video_id)
        assert {part.state for part in video.slices} == {SliceState.INDEXED}
        assert 0 < video.index_sequence <= await backbone.bus.last_sequence()
        assert await texts(one) == ["apple 1", "apple 2"]


async def test_a_filling_refuses_what_cannot_be_indexed_and_takes_the_rest(backbone: Backbone, tmp_path: Path) -> None:
    """Two models among the documents, and a vector without a direction: each is said at its own video."""
    good = [await add_video(backbone, [[f"apple {n}"], []]) for n in range(3)]
    broken = new_video_id()
    await backbone.videos.create(broken, title="B", url="https://example.org/b.mp4")
    await backbone.videos.begin_processing(broken)
    await backbone.videos.add_slice(broken, "00000", start_time=0, end_time=300)
    await backbone.videos.slice_transcribed(broken, "00000", language="en", asr_model="a")
    chunk = replace(records(broken, "00000", ["pear"])[0], embedding=np.full(16, np.nan, np.float32))
    await backbone.videos.slice_embedded(broken, "00000", chunks=[chunk], embedding_model=MODEL)
    await backbone.videos.finish_slicing(broken, duration=300)
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        await eventually(lambda: ready(backbone, *good), 20)
        assert await texts(one) == ["apple 0", "apple 1", "apple 2"]
    other = new_video_id()
    await backbone.videos.create(other, title="C", url="https://example.org/c.mp4")
    await backbone.videos.begin_processing(other)
    await add_slice(backbone.videos, other, "00000", ["plum"], model="other-model@2")
    await backbone.videos.finish_slicing(other, duration=300)
    shutil.rmtree(tmp_path)
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        state = await one.state()
        assert state.origin == "rebuild"
        assert await texts(one) == ["apple 0", "apple 1", "apple 2"]
        for video_id, field in ((broken, "direction"), (other, "other-model@2")):
            error = (await backbone.videos.get(video_id)).error
            assert error is not None
            assert (error.stage, error.slice_id) == ("index", "00000")
            assert field in error.message
