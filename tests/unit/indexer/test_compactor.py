"""Sealing and merging behind the back of changes and searches, and what happens when that does not work."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Unavailable
from services.common.executor import BoundedExecutor
from services.common.tasks import cancel
from services.indexer.build import Job, Source
from services.indexer.builder import Builder
from services.indexer.chunks import PutChunks, RemoveVideo, VideoInfo
from services.indexer.compactor import FAILED, MOST_FROZEN, Compactor, SegmentPolicy
from services.indexer.dense import DenseKind, DensePolicy
from services.indexer.segment import Segment
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder, State
from services.indexer.tiers import MergePolicy
from tests.support.waiting import eventually
from tests.unit.indexer.builders import (
    ALL_SLOTS,
    DIMENSION,
    MODEL,
    ask,
    batch,
    chunk,
    digest,
    put,
    replace,
    texts,
    write_snapshot,
)
from tests.unit.indexer.documents import given, metadata, record, stored

POLICY = SegmentPolicy(head_rows=4, merge=MergePolicy(smallest_rows=4, factor=2, deleted_share=0.2))


class GatedBuilder(Builder):
    """Builds at once, and says so only when the gate is open: what happens until then happens during the build."""

    def __init__(self) -> None:
        super().__init__()
        self.built, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def build(self, job: Job) -> dict[str, Any]:
        manifest = await super().build(job)
        self.built.set()
        await self.gate.wait()
        return manifest

    def shut(self) -> None:
        self.built.clear()
        self.gate.clear()


class Bench:
    """A shard, its compactor, and where they lie."""

    def __init__(self, folder: Path, policy: SegmentPolicy = POLICY) -> None:
        self.shard = Shard()
        self.folder = SnapshotFolder(folder, Origin(0, "stream"))
        self.sealing, self.merging, self.filling = GatedBuilder(), GatedBuilder(), Builder()
        self.writes = BoundedExecutor("writer", threads=1, queue=64)
        self.compactor = Compactor(
            self.shard,
            segments=self.folder.segments,
            work=self.folder.work,
            writes=self.writes,
            sealing=self.sealing,
            merging=self.merging,
            filling=self.filling,
            policy=policy,
        )

    async def seal(self, *texts: str, video: str = "vid_a") -> None:
        """One segment more."""
        self.shard.apply([replace(video, *texts)])
        self.shard.freeze()
        await self.compactor.seal()

    def left_over(self) -> list[str]:
        """What lies about of builds, whether they worked or not."""
        return [path.name for path in (*self.folder.segments.glob("*.*"), *self.folder.work.iterdir())]

    def unused(self) -> set[str]:
        """Segments on the disk that are not the shard's."""
        return {path.name for path in self.folder.segments.iterdir()} - {
            part.part.segment_id for part in self.shard.segments
        }

    def close(self) -> None:
        self.sealing.close()
        self.merging.close()
        self.filling.close()
        self.shard.close()
        self.writes.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def all_texts(shard: Shard) -> list[str]:
    """What each leg finds, when both find the same."""
    near = sorted(texts(ask(shard, near="x", k=1000)))
    assert near == sorted(texts(ask(shard, "apple pear plum quince medlar", k=1000)))
    return near


def kinds(shard: Shard) -> list[str]:
    return [part.part.kind for part in shard.view.parts]


async def test_all_frozen_heads_become_one_segment(bench: Bench) -> None:
    shard = bench.shard
    for number in range(3):
        shard.apply([replace(f"vid_{number}", f"apple {number}", f"pear {number}")])
        shard.freeze()
    shard.apply([replace("vid_9", "plum")])
    before, answers = digest(shard), all_texts(shard)
    await bench.compactor.seal()
    assert kinds(shard) == ["flat", "head"]
    assert (digest(shard), all_texts(shard)) == (before, answers)
    assert bench.left_over() == []
    await bench.compactor.seal()  # nothing is frozen
    assert kinds(shard) == ["flat", "head"]


async def test_a_full_head_is_frozen_and_sealed_by_itself(bench: Bench) -> None:
    shard = bench.shard
    running = asyncio.create_task(bench.compactor.run())
    for number in range(6):
        await bench.compactor.admit()
        await bench.writes.run(shard.apply, [replace(f"vid_{number}", f"apple {number}", f"pear {number}")])
        await bench.compactor.after_change()
    await eventually(lambda: not shard.frozen, 20)
    assert set(kinds(shard)) == {"flat"}
    assert len(all_texts(shard)) == 12
    await cancel([running])


@pytest.mark.parametrize("merge", [False, True], ids=["seal", "merge"])
async def test_what_happens_during_a_build_counts(bench: Bench, merge: bool) -> None:
    shard = bench.shard
    if merge:
        await bench.seal("apple 0", "pear 0", video="vid_a")
        await bench.seal("apple 1", "pear 1", video="vid_b")
        builder, work = bench.merging, bench.compactor.compact
    else:
        shard.apply([replace("vid_a", "apple 0", "pear 0"), replace("vid_b", "apple 1", "pear 1")])
        shard.freeze()
        builder, work = bench.sealing, bench.compactor.seal
    builder.shut()
    building = asyncio.create_task(work())  # type: ignore[arg-type]
    await asyncio.wait_for(builder.built.wait(), 20)
    applied = shard.apply(
        [RemoveVideo("vid_a"), put(chunk("vid_b", "quince", number=1)), replace("vid_c", "medlar"),
         put(chunk("vid_a", "plum", number=5), title="Back")]
    )  # fmt: skip
    assert applied.refused == {}
    during, expected = digest(shard), ["apple 1", "medlar", "plum", "quince"]
    assert all_texts(shard) == expected
    builder.gate.set()
    await building
    assert all_texts(shard) == expected
    assert digest(shard) == during
    assert [(part.part.kind, part.alive.count, part.deleted) for part in shard.view.parts] == [
        ("flat", 1, 3),
        ("head", 3, 0),
    ]
    assert bench.left_over() == []


async def test_a_segment_of_which_all_died_during_the_build_is_dropped_then(bench: Bench) -> None:
    shard = bench.shard
    shard.apply([replace("vid_a", "apple"), replace("vid_b", "pear")])
    shard.freeze()
    shard.apply([replace("vid_c", "plum")])
    bench.sealing.shut()
    sealing = asyncio.create_task(bench.compactor.seal())
    await asyncio.wait_for(bench.sealing.built.wait(), 20)
    shard.apply([RemoveVideo("vid_a"), RemoveVideo("vid_b")])
    bench.sealing.gate.set()
    await sealing
    while await bench.compactor.compact():
        pass
    assert kinds(shard) == ["head"]
    assert all_texts(shard) == ["plum"]


async def test_another_model_in_the_middle_of_a_build_leaves_nothing_of_the_first(bench: Bench) -> None:
    shard = bench.shard
    shard.apply([replace("vid_a", "apple", "pear")])
    shard.freeze()
    bench.sealing.shut()
    sealing = asyncio.create_task(bench.compactor.seal())
    await asyncio.wait_for(bench.sealing.built.wait(), 20)
    shard.apply([RemoveVideo("vid_a")])
    other = batch([chunk("vid_b", "plum")], model="other@2", dimension=8)
    assert shard.apply([PutChunks({"vid_b": VideoInfo("B")}, other)]).refused == {}
    bench.sealing.gate.set()
    await sealing
    assert (shard.model_revision, shard.dimension, shard.chunk_count) == ("other@2", 8, 1)
    assert kinds(shard) == ["head"]
    assert texts(ask(shard, "apple plum")) == ["plum"]
    shard.freeze()
    await bench.compactor.seal()
    assert [part.part.model_revision for part in shard.segments if isinstance(part.part, Segment)] == ["other@2"]
    # The segment that nobody wants goes with the next pruning.
    assert len(bench.unused()) == 1
    bench.folder.prune(lambda: bench.compactor.in_use)
    assert bench.unused() == set()


async def test_changes_wait_while_too_many_heads_wait(bench: Bench) -> None:
    shard = bench.shard
    for number in range(MOST_FROZEN):
        await asyncio.wait_for(bench.compactor.admit(), 1)
        shard.apply([replace(f"vid_{number}", f"apple {number}")])
        shard.freeze()
    bench.sealing.shut()
    admitted = asyncio.create_task(bench.compactor.admit())
    await asyncio.wait_for(bench.sealing.built.wait(), 20)
    assert not admitted.done()
    assert len(shard.frozen) == MOST_FROZEN
    bench.sealing.gate.set()
    await asyncio.wait_for(admitted, 20)
    assert shard.frozen == []
    assert len(all_texts(shard)) == MOST_FROZEN


def _moved(folder: Path) -> Path:
    """Puts a file in the place of a folder, so that not even root can write into it; gives where it went."""
    kept = folder.with_name(f"{folder.name}-kept")
    folder.rename(kept)
    folder.write_text("a file")
    return kept


@pytest.mark.parametrize("which", ["segments", "work"])
async def test_a_disk_that_takes_nothing_costs_nothing(bench: Bench, which: str) -> None:
    shard, folder = bench.shard, getattr(bench.folder, which)
    shard.apply([replace("vid_a", "apple", "pear")])
    shard.freeze()
    before = digest(shard)
    kept = _moved(folder)
    with pytest.raises(Unavailable):
        await bench.compactor.seal()
    assert (digest(shard), all_texts(shard), kinds(shard)) == (before, ["apple", "pear"], ["head"])
    assert bench.compactor.in_use == set()
    folder.unlink()
    kept.rename(folder)
    await bench.compactor.seal()
    assert (digest(shard), kinds(shard)) == (before, ["flat"])
    assert bench.left_over() == []


async def test_a_build_that_fails_is_tried_again_until_it_works(bench: Bench) -> None:
    shard = bench.shard
    failed = FAILED._value.get()
    kept = _moved(bench.folder.segments)
    running = asyncio.create_task(bench.compactor.run())
    shard.apply([replace("vid_a", "apple", "pear", "plum", "quince")])
    await bench.compactor.after_change()
    await eventually(lambda: FAILED._value.get() >= failed + 2, 30)
    assert not running.done()
    assert kinds(shard) == ["head"]
    bench.folder.segments.unlink()
    kept.rename(bench.folder.segments)
    await eventually(lambda: kinds(shard) == ["flat"], 30)
    assert len(all_texts(shard)) == 4
    await cancel([running])


async def test_a_killed_building_process_loses_nothing_and_is_started_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SegmentPolicy())
    shard = bench.shard
    shard.apply([put(*[chunk(f"vid_{number:04d}", f"apple {number}") for number in range(600)])])
    shard.freeze()
    before = digest(shard)
    sealing = asyncio.create_task(bench.compactor.seal())
    (child,) = await eventually(multiprocessing.active_children, 20)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="died"):
        await asyncio.wait_for(sealing, 30)
    assert (kinds(shard), digest(shard)) == (["head"], before)
    assert bench.left_over() == []  # what it had begun is gone
    await asyncio.wait_for(bench.compactor.seal(), 60)
    assert (kinds(shard), digest(shard)) == (["flat"], before)
    bench.close()
    await eventually(lambda: not multiprocessing.active_children(), 20)


async def test_a_failed_build_leaves_nothing_of_it_on_the_disk(bench: Bench) -> None:
    """A source that cannot be read any more, half way through."""
    bench.shard.apply([replace("vid_a", "apple")])
    write_snapshot(bench.folder, bench.shard)
    (segment,) = bench.shard.segments
    (segment.part.folder / "records.u64").unlink()  # type: ignore[union-attr]
    target = bench.folder.segments / "01new"
    job = Job(target, [Source(segment.part.folder)], DIMENSION, MODEL, policy=POLICY.dense, rows=1)  # type: ignore[union-attr]
    with pytest.raises(Unavailable):
        await bench.merging.build(job)
    assert list(bench.folder.segments.glob("01new*")) == []


async def test_segments_of_one_size_are_merged(bench: Bench) -> None:
    shard = bench.shard
    for number in range(4):
        await bench.seal(f"apple {number}", f"pear {number}", video=f"vid_{number}")
    before = digest(shard)
    assert await bench.compactor.compact()
    assert not await bench.compactor.compact()
    assert [(part.alive.count, part.deleted) for part in shard.segments] == [(8, 0)]
    assert (digest(shard), len(all_texts(shard))) == (before, 8)


async def test_a_wasteful_segment_is_written_anew_and_an_empty_one_dropped(bench: Bench) -> None:
    shard = bench.shard
    shard.apply([replace(f"vid_{number}", f"apple {number}", f"pear {number}") for number in range(8)])
    shard.freeze()
    await bench.compactor.seal()
    shard.apply([RemoveVideo("vid_0")])
    assert not await bench.compactor.compact()  # 2 of 16 are few
    shard.apply([RemoveVideo("vid_1"), RemoveVideo("vid_2")])
    before = digest(shard)
    assert await bench.compactor.compact()
    assert [(part.alive.count, part.deleted) for part in shard.segments] == [(10, 0)]
    assert digest(shard) == before
    shard.apply([RemoveVideo(f"vid_{number}") for number in range(8)])
    assert await bench.compactor.compact()
    assert not await bench.compactor.compact()
    assert shard.view.parts == ()
    assert shard.apply([replace("vid_z", "plum", model="other@2")]).refused == {}


async def test_a_head_of_which_nothing_lives_is_dropped_and_not_built(bench: Bench) -> None:
    shard = bench.shard
    shard.apply([replace("vid_a", "apple")])
    shard.freeze()
    shard.apply([RemoveVideo("vid_a"), replace("vid_b", "pear")])
    await bench.compactor.seal()
    assert kinds(shard) == ["head"]
    assert list(bench.folder.segments.iterdir()) == []


async def test_a_segment_is_in_use_from_before_it_is_there(bench: Bench) -> None:
    shard = bench.shard
    shard.apply([replace("vid_a", "apple")])
    shard.freeze()
    bench.sealing.shut()
    sealing = asyncio.create_task(bench.compactor.seal())
    await asyncio.wait_for(bench.sealing.built.wait(), 20)
    (name,) = bench.compactor.in_use
    bench.folder.prune(lambda: bench.compactor.in_use)
    assert (bench.folder.segments / name).is_dir()
    bench.sealing.gate.set()
    await sealing
    assert bench.compactor.in_use == {name}


async def test_what_the_database_gave_becomes_a_segment_at_once(bench: Bench, tmp_path: Path) -> None:
    bench.shard.apply([replace("vid_a", "apple")])
    lot = given(tmp_path / "lot", stored("vid_new", record("vid_new", "pear"), record("vid_new", "plum", number=1)))
    taken = await bench.compactor.take(lot.documents, lot.videos, dimension=DIMENSION, model_revision=MODEL)
    assert taken.rows == 2
    assert kinds(bench.shard) == ["flat", "head"]
    assert all_texts(bench.shard) == ["apple", "pear", "plum"]
    assert bench.shard.videos.info("vid_new") == taken.infos["vid_new"]
    bench.folder.prune(lambda: bench.compactor.in_use)
    state = State.of(bench.shard, applied_sequence=1, slots=ALL_SLOTS)
    assert [videos for _, _, videos in state.segments] == [["vid_new"]]


async def test_what_cannot_be_built_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.shard.apply([replace("vid_a", "apple")])
    before = digest(bench.shard)
    lot = given(tmp_path / "lot", stored("vid_new", record("vid_new", "pear")))
    other = given(tmp_path / "other", stored("vid_new", record("vid_new", "pear"), metadata=metadata("other@2")))
    kept = _moved(bench.folder.segments)
    with pytest.raises(Unavailable):
        await bench.compactor.take(lot.documents, lot.videos, dimension=DIMENSION, model_revision=MODEL)
    assert digest(bench.shard) == before
    assert bench.compactor.in_use == set()
    bench.folder.segments.unlink()
    kept.rename(bench.folder.segments)
    with pytest.raises(ValueError, match="other@2"):
        await bench.compactor.take(other.documents, other.videos, dimension=DIMENSION, model_revision="other@2")
    assert digest(bench.shard) == before
    assert bench.shard.video_count == 1


@pytest.mark.parametrize("flat_rows", [1, 8])  # too few for each, and for both together
async def test_what_a_filling_leaves_is_merged_at_once_when_it_ends(tmp_path: Path, flat_rows: int) -> None:
    dense = DensePolicy(kind=DenseKind.IVF, flat_rows=flat_rows)
    policy = SegmentPolicy(dense=dense, merge=MergePolicy(smallest_rows=8))
    bench = Bench(tmp_path / "index", policy)
    running = asyncio.create_task(bench.compactor.run())
    try:
        with bench.compactor.filling():
            for name in ("vid_a", "vid_b"):
                lot = given(tmp_path / name, stored(name, *(record(name, f"{name} {n}", number=n) for n in range(6))))
                await bench.compactor.take(lot.documents, lot.videos, dimension=DIMENSION, model_revision=MODEL)
            await bench.seal("something small", video="vid_c")
            before = digest(bench.shard)
            assert kinds(bench.shard) == ["flat"] * 3
        await eventually(lambda: kinds(bench.shard) == ["ivf"])
        assert digest(bench.shard) == before
    finally:
        await cancel([running])
        bench.close()
