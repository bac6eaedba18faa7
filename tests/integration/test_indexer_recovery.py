"""What an indexer comes back to: its snapshot and the stream's tail, or the documents; and what kill -9 cannot do."""

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.common.events import topology
from services.common.runner import serve
from services.common.videos.model import VideoStatus
from services.indexer.app import build
from tests.integration.indexer_support import Indexer, add_video, indexer, indexer_settings, spawned
from tests.support.mesh import Backbone
from tests.support.waiting import eventually


async def all_ready(backbone: Backbone, videos: list[str]) -> bool:
    return all([(await backbone.videos.get(video_id)).status is VideoStatus.READY for video_id in videos])


async def texts(one: Indexer) -> list[str]:
    return sorted((await one.contents()).values())


async def test_ready_means_that_all_that_waited_is_in(backbone: Backbone, tmp_path: Path) -> None:
    said = [f"apple {number}" for number in range(12)]
    for text in said:
        await add_video(backbone, [[text]])
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        assert await texts(one) == sorted(said)


async def test_a_restart_opens_the_snapshot_and_follows_the_rest(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path)
    async with indexer(settings) as one:
        await one.until_serving()
        stays, goes = await add_video(backbone, [["apple pie"]]), await add_video(backbone, [["pear tart"]])
        await eventually(lambda: all_ready(backbone, [stays, goes]))
    await backbone.videos.mark_deleting(goes)
    new = await add_video(backbone, [["plum cake"]])
    async with indexer(settings) as again:
        await again.until_serving()
        state = await again.state()
        assert state.origin == "snapshot"
        assert state.applied_sequence > state.snapshot_sequence > 0
        assert await texts(again) == ["apple pie", "plum cake"]
        await eventually(lambda: all_ready(backbone, [new]))


async def test_a_lost_disk_is_rebuilt_from_the_documents(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path / "index")
    async with indexer(settings) as one:
        await one.until_serving()
        videos = [await add_video(backbone, [[f"apple {number}"], ["pear"]]) for number in range(3)]
        await eventually(lambda: all_ready(backbone, videos))
        before = await one.contents()
    shutil.rmtree(tmp_path / "index")
    async with indexer(settings) as again:
        await again.until_serving()
        assert (await again.state()).origin == "rebuild"
        assert await again.contents() == before
    # And the rebuild was kept: the next start has it from a snapshot.
    async with indexer(settings) as third:
        await third.until_serving()
        assert (await third.state()).origin == "snapshot"
        assert await third.contents() == before


async def test_a_rebuild_moves_on_slices_whose_events_are_lost(backbone: Backbone, tmp_path: Path) -> None:
    video_id = await add_video(backbone, [["apple pie"], []])
    going = await add_video(backbone, [["pear tart"]])
    await backbone.videos.mark_deleting(going)
    await backbone.bus.js.purge_stream(topology.EVENTS)
    async with indexer(indexer_settings(backbone.settings, tmp_path)) as one:
        await one.until_serving()
        assert await all_ready(backbone, [video_id])
        assert await texts(one) == ["apple pie"]


async def test_a_snapshot_that_the_stream_no_longer_continues_is_not_trusted(
    backbone: Backbone, tmp_path: Path
) -> None:
    settings = indexer_settings(backbone.settings, tmp_path)
    async with indexer(settings) as one:
        await one.until_serving()
        goes = await add_video(backbone, [["apple pie"]])
        await eventually(lambda: all_ready(backbone, [goes]))
    await backbone.videos.mark_deleting(goes)
    await add_video(backbone, [["plum cake"]])
    await backbone.bus.js.purge_stream(topology.EVENTS)
    async with indexer(settings) as again:
        await again.until_serving()
        assert (await again.state()).origin == "rebuild"
        assert await texts(again) == ["plum cake"]


async def test_a_stream_made_anew_is_noticed_while_running_and_at_the_start(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path, snapshot_seconds=0.2)
    ended = asyncio.create_task(serve("indexer", settings, build))
    video_id = await add_video(backbone, [["apple pie"]])
    await eventually(lambda: all_ready(backbone, [video_id]), 30)
    await backbone.bus.js.delete_stream(topology.EVENTS)
    await topology.apply(backbone.bus.js, replicas=1)
    assert await asyncio.wait_for(ended, 60) == 1  # it cannot know what it missed, so it does not go on
    new = await add_video(backbone, [["plum cake"]])
    async with indexer(settings) as again:
        await again.until_serving()
        assert (await again.state()).origin == "rebuild"
        assert await texts(again) == ["apple pie", "plum cake"]
        await eventually(lambda: all_ready(backbone, [new]))


async def test_a_corrupt_snapshot_is_set_aside_and_nothing_is_lost(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path)
    snapshots = tmp_path / "snapshots"
    videos: list[str] = []
    for number in range(2):
        async with indexer(settings) as one:
            await one.until_serving()
            videos.append(await add_video(backbone, [[f"apple {number}"]]))
            await eventually(lambda: all_ready(backbone, videos))
    segments = sorted(folder for folder in (tmp_path / "segments").iterdir())
    (segments[-1] / "records.bin").write_bytes(b"rubbish")
    async with indexer(settings) as one:
        await one.until_serving()
        state = await one.state()
        assert state.origin == "snapshot"  # with what the segment held filled in again
        assert [said.split(":")[0] for said in state.repaired] == [segments[-1].name]
        assert await texts(one) == ["apple 0", "apple 1"]
    assert (tmp_path / "segments" / f"{segments[-1].name}.corrupt").is_dir()
    for path in snapshots.glob("*.json"):
        path.write_text("{")
    async with indexer(settings) as one:
        await one.until_serving()
        assert (await one.state()).origin == "rebuild"
        assert await texts(one) == ["apple 0", "apple 1"]
    assert list(snapshots.glob("*.corrupt")) != []


async def test_a_second_process_on_the_same_folder_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path)
    async with indexer(settings) as one:
        await one.until_serving()
        assert await serve("indexer", settings, build) == 1
        assert await one.serving()


async def test_sigterm_ends_it_cleanly_with_a_snapshot(backbone: Backbone, tmp_path: Path) -> None:
    settings = indexer_settings(backbone.settings, tmp_path / "index")
    async with spawned(settings, tmp_path / "log") as one:
        await one.until_serving()
        video_id = await add_video(backbone, [["apple pie"]])
        await eventually(lambda: all_ready(backbone, [video_id]))
        assert one.process is not None
        one.process.send_signal(signal.SIGTERM)
        await eventually(lambda: one.process is not None and one.process.poll() is not None, 30)
        assert one.process.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert list((tmp_path / "index" / "snapshots").glob("*.json")) != []


async def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(backbone: Backbone, tmp_path: Path) -> None:
    """Snapshots all the time, killed again and again while slices come and videos go: the last life has it all."""
    settings = indexer_settings(backbone.settings, tmp_path / "index", snapshot_seconds=0.05)
    expected: dict[str, list[str]] = {}

    async def feed(life: int) -> None:
        for number in range(10):
            said = [f"apple {life}.{number}", f"pear {life}.{number}"]
            video_id = await add_video(backbone, [said, [f"plum {life}.{number}"]])
            expected[video_id] = [*said, f"plum {life}.{number}"]
            if number % 4 == 3:
                victim = next(iter(expected))
                del expected[victim]
                await backbone.videos.mark_deleting(victim)

    for life in range(2):
        async with spawned(settings, tmp_path / "log") as one:
            await one.until_serving()
            before = (await one.state()).chunk_count
            feeding = asyncio.create_task(feed(life))

            async def has_moved(one: Indexer = one, before: int = before, least: int = 5 + 4 * life) -> bool:
                return (await one.state()).chunk_count >= before + least

            await eventually(has_moved, 60, message="the indexer in the middle of its work")
            assert one.process is not None
            one.process.kill()
        await feeding

    async def unready() -> list[str]:
        videos = [await backbone.videos.get(video_id) for video_id in expected]
        return [f"{v.status} {v.slicing_done} {v.slices}" for v in videos if v.status is not VideoStatus.READY]

    async with spawned(settings, tmp_path / "log") as one:
        await one.until_serving()
        # Ready means caught up, so there is nothing left to wait for but the last batch's slices.
        await eventually(lambda: _none(unready), 30, message="every video ready")
        held = await one.contents()
        assert sorted(held.values()) == sorted(text for said in expected.values() for text in said)
        assert {chunk_id.split("/")[0] for chunk_id in held} == set(expected)
        assert (await one.state()).chunk_count == len(held) == 3 * len(expected)


async def _none(get: Callable[[], Awaitable[list[str]]]) -> bool:
    assert await get() == []
    return True
