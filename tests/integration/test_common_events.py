"""Consumers, the dead-letter stream and followers on a real JetStream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import InvalidArgument, Unavailable
from services.common.events import topology
from services.common.events.advisories import advisories
from services.common.events.bus import EventBus, OwedEvent
from services.common.events.consumer import Consumer, Done, Event, Handler, Outcome, Reject, Retry
from services.common.events.follower import FollowedEvent, Follower
from services.common.ids import SLOTS, new_video_id, slice_id, slot_of
from services.common.videos.model import Source
from tests.support.mesh import Backbone
from tests.support.waiting import eventually


async def publish_cut(bus: EventBus, video_id: str, slice_id: str = "00000") -> None:
    await bus.publish(OwedEvent.of("slice.cut", pb.SliceCut(video_id=video_id, slice_id=slice_id), video_id))


async def publish_embedded(bus: EventBus, video_id: str) -> None:
    await bus.publish(OwedEvent.of("slice.embedded", pb.SliceEmbedded(video_id=video_id, slice_id="00000"), video_id))


@asynccontextmanager
async def consuming(bus: EventBus, name: str, handler: Handler, concurrency: int = 1) -> AsyncIterator[Consumer]:
    consumer = Consumer(bus, name, handler, concurrency=concurrency)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        await consumer.stop(grace_seconds=1)
        await task


async def dead_letters(bus: EventBus) -> list[pb.DeadLetter]:
    state = (await bus.js.stream_info(topology.DEAD)).state
    return [
        pb.DeadLetter.FromString((await bus.js.get_msg(topology.DEAD, seq=n)).data or b"")
        for n in range(1, state.last_seq + 1)
    ]


async def test_an_event_is_handled_once_and_stays_in_the_stream(backbone: Backbone) -> None:
    seen: list[Event] = []

    async def handler(event: Event) -> Outcome:
        seen.append(event)
        return Done()

    video_id = new_video_id()
    async with consuming(backbone.bus, "recognizer", handler):
        await publish_cut(backbone.bus, video_id)
        await eventually(lambda: len(seen) == 1)
    assert seen[0].message == pb.SliceCut(video_id=video_id, slice_id="00000")
    assert seen[0].kind == "slice.cut"
    assert (await backbone.bus.backlog())["recognizer"] == 0
    assert await backbone.bus.last_sequence() == 1


async def test_workers_take_as_many_as_they_have_room_for(backbone: Backbone) -> None:
    running = 0
    most = 0
    done = asyncio.Event()

    async def handler(event: Event) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await done.wait()
        running -= 1
        return Done()

    async with consuming(backbone.bus, "recognizer", handler, concurrency=3):
        for _ in range(7):
            await publish_cut(backbone.bus, new_video_id())
        await eventually(lambda: running == 3)
        done.set()
        await eventually(lambda: running == 0)

        async def worked_off() -> bool:
            return (await backbone.bus.backlog())["recognizer"] == 0

        await eventually(worked_off)
    assert most == 3


async def test_a_transient_error_is_retried_and_a_final_one_is_buried(backbone: Backbone) -> None:
    deliveries: dict[str, int] = {}

    async def handler(event: Event) -> Outcome:
        assert isinstance(event.message, pb.SliceCut)
        deliveries[event.message.slice_id] = event.deliveries
        if event.message.slice_id == "transient" and event.deliveries == 1:
            raise Unavailable("not now", retry_after_seconds=0.01)
        if event.message.slice_id == "retry" and event.deliveries == 1:
            return Retry("BUSY", "later", after_seconds=0.01)
        if event.message.slice_id == "wrong":
            raise InvalidArgument("cannot be done")
        if event.message.slice_id == "rejected":
            return Reject("NO_AUDIO", "there is no audio")
        return Done()

    video_id = new_video_id()
    async with consuming(backbone.bus, "recognizer", handler):
        for slice_id in ("transient", "retry", "wrong", "rejected"):
            await publish_cut(backbone.bus, video_id, slice_id)
        await eventually(lambda: deliveries == {"transient": 2, "retry": 2, "wrong": 1, "rejected": 1})

        async def buried() -> bool:
            return len(await dead_letters(backbone.bus)) == 2

        await eventually(buried)
    letters = await dead_letters(backbone.bus)
    assert [(letter.reason, letter.consumer) for letter in letters] == [
        ("INVALID_ARGUMENT", "recognizer"),
        ("NO_AUDIO", "recognizer"),
    ]
    assert pb.SliceCut.FromString(letters[1].payload).slice_id == "rejected"


async def test_a_worker_that_says_nothing_is_spoken_for(backbone: Backbone) -> None:
    """A worker that dies each time: JetStream's advisory leads to a dead letter."""
    row = topology.consumer("recognizer")
    info = await backbone.bus.js.consumer_info(row.stream, row.name)
    info.config.max_deliver, info.config.ack_wait = 2, 0.2
    await backbone.bus.js.add_consumer(row.stream, info.config)
    video_id = new_video_id()
    await publish_cut(backbone.bus, video_id)
    subscription = await backbone.bus.js.pull_subscribe_bind(row.name, stream=row.stream)
    for _ in range(2):
        await subscription.fetch(1, timeout=5)  # and never a word more
    task = asyncio.create_task(subscription.fetch(1, timeout=3))  # asking again is what makes the server notice
    speaker = advisories(backbone.bus)
    speaking = asyncio.create_task(speaker.run())

    async def buried() -> list[pb.DeadLetter]:
        return await dead_letters(backbone.bus)

    [letter] = await eventually(buried)
    assert (letter.reason, letter.consumer, letter.deliveries) == ("WORKER_DIED", "recognizer", 2)
    assert pb.SliceCut.FromString(letter.payload).video_id == video_id
    await speaker.stop(grace_seconds=1)
    await speaking
    task.cancel()


async def test_stopping_gives_unfinished_work_back(backbone: Backbone) -> None:
    started = asyncio.Event()

    async def never(event: Event) -> Outcome:
        started.set()
        await asyncio.Event().wait()
        return Done()

    consumer = Consumer(backbone.bus, "recognizer", never)
    task = asyncio.create_task(consumer.run())
    await publish_cut(backbone.bus, new_video_id())
    await started.wait()
    await consumer.stop(grace_seconds=0.05)
    await task
    seen: list[int] = []

    async def handler(event: Event) -> Outcome:
        seen.append(event.deliveries)
        return Done()

    async with consuming(backbone.bus, "recognizer", handler):
        await eventually(lambda: seen == [2], timeout=5)  # at once, not after the ack wait of 15 s


async def follow(follower: Follower, into: list[FollowedEvent]) -> None:
    async for batch in follower.batches():
        into += batch


@pytest.mark.parametrize("slots", [range(SLOTS), range(SLOTS // 2)])
async def test_a_follower_sees_its_slots_in_order_and_knows_when_it_has_caught_up(
    backbone: Backbone, slots: range
) -> None:
    ids = [new_video_id() for _ in range(40)]
    for video_id in ids:
        await publish_cut(backbone.bus, video_id)
        await publish_embedded(backbone.bus, video_id)
    mine = [video_id for video_id in ids if slot_of(video_id) in slots]
    seen: list[FollowedEvent] = []
    follower = Follower(backbone.bus, slots=slots, after_sequence=0)
    task = asyncio.create_task(follow(follower, seen))
    await eventually(lambda: follower.caught_up)
    assert [e.message.video_id for e in seen] == mine  # type: ignore[attr-defined]
    # While idle its place moves on with the stream, although nothing of it concerns the follower.
    await publish_cut(backbone.bus, ids[0])
    end = await backbone.bus.last_sequence()
    await eventually(lambda: follower.sequence == end)
    task.cancel()

    again: list[FollowedEvent] = []
    resumed = Follower(backbone.bus, slots=slots, after_sequence=seen[-3].sequence)
    task = asyncio.create_task(follow(resumed, again))
    await eventually(lambda: resumed.caught_up)
    assert again == seen[-2:]
    task.cancel()


async def test_the_topology_can_be_applied_again_without_losing_places(backbone: Backbone) -> None:
    async def handler(event: Event) -> Outcome:
        return Done()

    await publish_cut(backbone.bus, new_video_id())
    async with consuming(backbone.bus, "recognizer", handler):

        async def worked_off() -> bool:
            return (await backbone.bus.backlog())["recognizer"] == 0

        await eventually(worked_off)
    await topology.apply(backbone.bus.js, replicas=1)
    assert (await backbone.bus.backlog())["recognizer"] == 0


async def test_what_is_right_already_is_left_alone_and_what_is_not_is_mended(backbone: Backbone) -> None:
    js, changes = backbone.bus.js, []

    async def note(message: Msg) -> None:
        changes.append(message.subject)

    for asked in ("$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.CREATE.>", "$JS.API.CONSUMER.*.CREATE.>"):
        await backbone.bus.client.subscribe(asked, cb=note)
    await topology.apply(js, replicas=1)
    await backbone.bus.client.flush()
    assert changes == []
    config = (await js.stream_info(topology.EVENTS)).config
    config.max_age = 3600
    await js.update_stream(config)
    row = topology.consumer("slicer")
    other = (await js.consumer_info(row.stream, row.name)).config
    other.ack_wait = 99
    await js.add_consumer(row.stream, other)
    await backbone.bus.client.flush()
    changes.clear()
    await topology.apply(js, replicas=1)
    assert (await js.stream_info(topology.EVENTS)).config.max_age == topology.STREAMS[0].max_age_seconds
    assert (await js.consumer_info(row.stream, row.name)).config.ack_wait == row.ack_wait_seconds
    assert [subject.split(".")[-1] for subject in changes] == [topology.EVENTS, "slicer"]


async def test_what_was_just_uploaded_goes_ahead_of_the_tenth_hour_and_the_tenth_hour_goes_on(
    backbone: Backbone,
) -> None:
    long, done = new_video_id(), []
    for index in range(60, 100):
        await publish_cut(backbone.bus, long, slice_id(index))
    shorts = [new_video_id() for _ in range(30)]
    for video_id in shorts:
        await publish_cut(backbone.bus, video_id)

    async def handler(event: Event) -> Outcome:
        assert isinstance(event.message, pb.SliceCut)
        done.append(event.message.video_id)
        return Done()

    async with consuming(backbone.bus, "recognizer", handler):
        await eventually(lambda: len(done) == 70)
        later = new_video_id()
        await publish_cut(backbone.bus, later, slice_id(40))  # a lane that nothing waits in is found as soon
        await eventually(lambda: done[-1] == later)
    assert done[0] == shorts[0]
    # All short ones were there before any had begun: they get most turns, and the long one some all the while.
    taken_by_long = [video_id == long for video_id in done[:36]]
    assert 3 <= sum(taken_by_long) <= 12
    assert all(any(taken_by_long[i : i + 13]) for i in range(24))


async def test_an_import_of_thousands_does_not_hold_an_upload_back_and_goes_on(backbone: Backbone) -> None:
    imports = [new_video_id() for _ in range(4)]
    for video_id in imports:
        parts = [(slice_id(number), number * 300.0, (number + 1) * 300.0) for number in range(20)]
        await backbone.videos.create_imported(
            video_id, title="Minutes", slices=parts, duration=6000.0, asr_model="imported"
        )
    uploaded = new_video_id()
    await backbone.videos.create(uploaded, title="Talk", source=Source("talk.mp4", "video/mp4", 5, "0" * 64))
    await backbone.videos.begin_processing(uploaded)
    for number in range(10):
        part = slice_id(number)
        await backbone.videos.add_slice(uploaded, part, start_time=number * 60.0, end_time=number * 60.0 + 60)
        await backbone.videos.slice_transcribed(uploaded, part, language="en", asr_model="base")
    done: list[str] = []

    async def handler(event: Event) -> Outcome:
        assert isinstance(event.message, pb.SliceTranscribed)
        done.append(event.message.video_id)
        return Done()

    async with consuming(backbone.bus, "embedder", handler):
        await eventually(lambda: len(done) == 90)
    # Though all that was imported had been waiting before it; and that goes on all the while.
    assert done[0] == uploaded
    assert done[:20].count(uploaded) == 10
    assert done[:9].count(uploaded) < 9


async def test_captions_of_hours_hold_no_other_upload_back_and_go_on(backbone: Backbone) -> None:
    long, talk, short, corrected, heard = (new_video_id() for _ in range(5))
    media = Source("talk.mp4", "video/mp4", 5, "0" * 64)
    # A day's worth is put in place first, then everybody else comes.
    for video_id, count in ((long, 66), (corrected, 20), (talk, 6), (short, 1)):
        parts = [(slice_id(number), number * 300.0, (number + 1) * 300.0) for number in range(count)]
        await backbone.videos.create_imported(
            video_id, title="Talk", slices=parts, duration=count * 300.0, asr_model="imported", source=media
        )
        if video_id == corrected:
            edits = {name: "e" for name, _, _ in parts}
            await backbone.videos.edit_transcript(video_id, edits, transcript_revision=0)
    await backbone.videos.create(heard, title="Talk", source=media)
    await backbone.videos.begin_processing(heard)
    await backbone.videos.add_slice(heard, slice_id(0), start_time=0.0, end_time=11.0)
    await backbone.videos.slice_transcribed(heard, slice_id(0), language="en", asr_model="base")
    done: list[str] = []

    async def handler(event: Event) -> Outcome:
        assert isinstance(event.message, pb.SliceTranscribed)
        done.append(event.message.video_id)
        return Done()

    async with consuming(backbone.bus, "embedder", handler):
        await eventually(lambda: len(done) == 66 + 2 * 20 + 6 + 1 + 1)
    # In the first lane: two of each long one, two more of the correction, two of the talk, and the two short ones.
    assert max(done.index(short), done.index(heard)) < 2 * 10
    assert len(done) - 1 - done[::-1].index(talk) < 40
    # The longest does not wait for all of them to end.
    assert done[:40].count(long) > 5


async def test_what_is_given_with_its_media_or_corrected_or_tried_again_is_where_it_belongs(backbone: Backbone) -> None:
    part = [(slice_id(0), 0.0, 60.0)]
    video, captioned, heard = new_video_id(), new_video_id(), Source("talk.mp4", "video/mp4", 5, "0" * 64)
    for video_id, source in ((video, None), (captioned, heard)):
        await backbone.videos.create_imported(
            video_id, title="Talk", slices=part, duration=60.0, asr_model="imported", source=source
        )
    assert await _waiting(backbone) == (1, 1)
    await backbone.videos.fail_slice(video, slice_id(0), stage="embed", reason="BROKEN", message="it broke")
    await backbone.videos.retry(video)
    assert await _waiting(backbone) == (1, 2)
    await backbone.videos.nudge(await backbone.videos.get(video))
    assert await _waiting(backbone) == (1, 3)
    # Somebody waits for what he has corrected.
    await backbone.videos.edit_transcript(video, {slice_id(0): "e"}, transcript_revision=0)
    assert await _waiting(backbone) == (2, 3)


async def test_of_many_slices_owed_at_once_only_the_first_are_in_the_lane_of_what_was_just_heard(
    backbone: Backbone,
) -> None:
    parts = [(slice_id(number), number * 300.0, (number + 1) * 300.0) for number in range(20)]
    video, heard = new_video_id(), Source("talk.mp4", "video/mp4", 5, "0" * 64)
    await backbone.videos.create_imported(
        video, title="Talk", slices=parts, duration=6000.0, asr_model="imported", source=heard
    )
    assert await _waiting(backbone) == (2, 0)
    await backbone.videos.edit_transcript(video, {name: "e" for name, _, _ in parts}, transcript_revision=0)
    assert await _waiting(backbone) == (4, 0)
    await backbone.videos.nudge(await backbone.videos.get(video))
    assert await _waiting(backbone) == (6, 0)
    # One by one they go ahead, wherever in the video they are.
    await backbone.videos.edit_transcript(video, {slice_id(19): "f"}, transcript_revision=1)
    assert await _waiting(backbone) == (7, 0)


async def _waiting(backbone: Backbone) -> tuple[int, int]:
    backlog = await backbone.bus.backlog()
    return backlog["embedder"], backlog["embedder-1"]


async def test_an_event_in_a_late_lane_is_retried_and_buried_as_in_any(backbone: Backbone) -> None:
    deliveries: list[int] = []

    async def handler(event: Event) -> Outcome:
        deliveries.append(event.deliveries)
        return Retry("BUSY", "later", after_seconds=0.01) if event.deliveries < 3 else Reject("NO_AUDIO", "none")

    async with consuming(backbone.bus, "recognizer", handler, concurrency=3):
        await publish_cut(backbone.bus, new_video_id(), slice_id(80))

        async def buried() -> list[pb.DeadLetter]:
            return await dead_letters(backbone.bus)

        [letter] = await eventually(buried)
    assert deliveries == [1, 2, 3]
    assert letter.consumer == "recognizer"
    assert topology.kind_of(letter.subject) == "slice.cut"
    assert (await backbone.bus.backlog())["recognizer-6"] == 0
