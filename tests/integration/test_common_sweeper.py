"""The sweeper on real servers: nothing stays owed, nothing stays stalled, and a backlog is not a stall."""

import asyncio

from services.common.events import topology
from services.common.events.consumer import Consumer, Done, Event, Outcome
from services.common.ids import new_video_id
from services.common.videos.model import Source
from services.common.videos.sweeper import Sweeper
from tests.support.mesh import Backbone
from tests.support.waiting import eventually

SOURCE = Source(filename="talk.mp4", content_type="video/mp4", bytes=5, sha256="0" * 64)


def sweeper(backbone: Backbone, *, stalled_seconds: float) -> Sweeper:
    return Sweeper(backbone.videos, backbone.bus, every_seconds=1, owed_seconds=-1, stalled_seconds=stalled_seconds)


async def test_an_event_owed_while_nats_was_away_is_sent(backbone: Backbone) -> None:
    video_id = new_video_id()
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    await backbone.bus.js.purge_stream(topology.EVENTS)
    # What a change leaves behind while the bus is away: the document, and the event it owes.
    entry = {"event_id": "owed-1", "subject": topology.subject("video.uploaded", video_id), "payload": b""}
    video = await backbone.videos.get(video_id)
    entry |= {"at": video.metadata.uploaded_at}  # type: ignore[dict-item]
    await backbone.database["videos"].update_one({"_id": video_id}, {"$push": {"outbox": entry}})
    await sweeper(backbone, stalled_seconds=60).sweep()
    assert (await backbone.bus.js.stream_info(topology.EVENTS)).state.messages == 1
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    assert raw["outbox"] == []


async def test_a_stalled_video_is_sent_again_but_not_while_it_waits_its_turn(backbone: Backbone) -> None:
    video_id = new_video_id()
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    sweep = sweeper(backbone, stalled_seconds=-1).sweep
    await sweep()  # its event waits in the slicer's queue: that is a backlog
    # That pictures wait to be made of it is none: they move no video on.
    assert await backbone.bus.last_sequence() == 2
    handled: list[Event] = []

    async def lose(event: Event) -> Outcome:
        handled.append(event)
        return Done()

    consumer = Consumer(backbone.bus, "slicer", lose)
    task = asyncio.create_task(consumer.run())

    async def worked_off() -> bool:
        return (await backbone.bus.backlog())["slicer"] == 0

    await eventually(lambda: len(handled) == 1)
    await eventually(worked_off)
    await sweep()  # handled, and yet nothing came of it: that is a stall
    await eventually(lambda: len(handled) == 2)
    await consumer.stop(grace_seconds=1)
    await task
