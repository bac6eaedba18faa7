"""An indexer is killed again and again while it seals, merges and takes snapshots; nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from services.common.ids import SLOTS
from services.common.videos.model import VideoStatus
from tests.integration.indexer_support import Indexer, add_video, indexer, indexer_settings, spawned
from tests.support.mesh import Backbone
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)
ROUNDS = 8
VIDEOS_OF_A_ROUND = 15
SEED = 20


class Feed:
    """Videos that come, change and go, and what must be there in the end."""

    def __init__(self, backbone: Backbone, dice: random.Random) -> None:
        self._backbone = backbone
        self._dice = dice
        self.expected: dict[str, list[str]] = {}

    async def run(self, life: int) -> None:
        """One round's changes."""
        for number in range(VIDEOS_OF_A_ROUND):
            slices = [[f"apple {life}.{number}.{part}.{n}" for n in range(4)] for part in range(2)]
            video_id = await add_video(self._backbone, slices, title=f"Talk {life}.{number}")
            self.expected[video_id] = [text for said in slices for text in said]
            chosen = self._dice.choice(list(self.expected))
            if number % 3 == 1:
                await self._backbone.videos.describe(chosen, {"title": "New", "tags": [f"tag {number}"]})
            elif number % 3 == 2:
                del self.expected[chosen]
                await self._backbone.videos.mark_deleting(chosen)


def moments(folder: Path) -> dict[str, Callable[[], bool]]:
    """Moments worth being killed in, as the disk shows them."""
    segments, snapshots, work = folder / "segments", folder / "snapshots", folder / "work"

    def grown(root: Path, pattern: str) -> Callable[[], bool]:
        before = {path.name for path in root.glob(pattern)}
        return lambda: bool({path.name for path in root.glob(pattern)} - before)

    return {
        "a segment being made": lambda: any(segments.glob("*.writing")) or any(work.glob("*")),
        "a segment just made": grown(segments, "*/segment.json"),
        "a snapshot just written": grown(snapshots, "*.json"),
        "the table of a snapshot just written": grown(snapshots, "*.state"),
    }


async def chunks_of(one: Indexer) -> int:
    try:
        return (await one.state()).chunk_count
    except grpc.aio.AioRpcError:
        return -1


async def test_killed_while_it_seals_merges_and_takes_snapshots(backbone: Backbone, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    victim = indexer_settings(
        backbone.settings, tmp_path / "victim", head_rows=16, merge_factor=2, snapshot_seconds=0.1
    )
    witness = indexer_settings(backbone.settings, tmp_path / "witness", indexer_ordinal=1)
    feed = Feed(backbone, dice)
    async with indexer(witness) as beside:
        await beside.until_serving()
        for life in range(ROUNDS):
            async with spawned(victim, tmp_path / "log") as one:
                feeding = asyncio.create_task(feed.run(life))
                if life % 4 == 3:  # while it still loads, or catches up
                    await eventually(lambda: (victim.index_dir / "snapshots").is_dir(), 60)
                else:
                    await one.until_serving()
                    least = await chunks_of(one) + dice.randrange(60)

                    async def is_in_the_middle(
                        one: Indexer = one, least: int = least, feeding: asyncio.Task[None] = feeding
                    ) -> bool:
                        return feeding.done() or await chunks_of(one) >= least

                    await eventually(is_in_the_middle, 60)
                    what, reached = dice.choice(list(moments(victim.index_dir).items()))
                    await eventually(lambda: feeding.done() or reached(), 30, message=what)  # noqa: B023
                assert one.process is not None
                assert one.process.poll() is None, (tmp_path / "log").read_text()[-3000:]
                one.process.kill()
            await feeding

        async with spawned(victim, tmp_path / "log") as one:
            await one.until_serving()

            async def all_ready() -> bool:
                videos = [await backbone.videos.get(video_id) for video_id in feed.expected]
                return all(video.status is VideoStatus.READY for video in videos)

            await eventually(all_ready, 60)
            end = await backbone.bus.last_sequence()
            copies = [await replica.describe(range(SLOTS), min_sequence=end) for replica in (one, beside)]
            assert copies[0] == copies[1]
            texts = sorted(text for said in feed.expected.values() for text in said)
            state = await one.state()
            assert (state.chunk_count, state.video_count) == (len(texts), len(feed.expected))
            # By its words each is found just once, and in no other way than by its vector.
            assert sorted([hit.chunk.text for hit in (await one.search("apple", k=1000)).hits]) == texts
            assert sorted((await one.contents()).values()) == texts
            assert list(state.repaired) == []  # a kill damages nothing: every file is whole or not there
            assert state.origin == "snapshot"
            assert any(segment.kind == "flat" for segment in state.segments)
    # Nothing lies about that nobody needs.
    assert list((victim.index_dir / "segments").glob("*.corrupt")) == []
    manifests = sorted((victim.index_dir / "snapshots").glob("*.json"))
    assert 1 <= len(manifests) <= 2
    assert all(json.loads(path.read_bytes())["segments"] for path in manifests)
