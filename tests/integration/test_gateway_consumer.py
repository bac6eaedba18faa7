"""The gateway's consumers: cleaning up, and failing what nobody could do."""

import itertools

import pytest

from earmark.events.v1 import events_pb2 as pb
from services.common.events import topology
from services.common.events.bus import OwedEvent
from services.common.events.consumer import Event, Reject, Retry
from services.common.ids import new_video_id
from services.common.objects import media_key, transcript_key
from services.common.videos.model import Playable, Playback, SliceState, Source, VideoStatus
from services.gateway.consumer import Cleaner
from tests.support.gateway import Gateway
from tests.support.mesh import Backbone
from tests.support.waiting import eventually

SOURCE = Source("a.mp4", "video/mp4", 5, "0" * 64)


SEQUENCES = itertools.count(7)
"""Of the events that were given up: the stream of letters takes each one once."""
GATEWAY = {"sweep_every_seconds": 0.2, "owed_after_seconds": 0.2}


async def dead_letter(base: Backbone, event: OwedEvent, *, consumer: str) -> None:
    sequence = next(SEQUENCES)
    letter = pb.DeadLetter(
        subject=event.subject,
        payload=event.payload,
        consumer=consumer,
        stream_sequence=sequence,
        deliveries=3,
        reason="MEDIA_UNREADABLE",
        message="the audio cannot be decoded.",
    )
    await base.bus.publish_dead(letter, consumer=consumer, event_id=f"{consumer}-{sequence}")


async def processing(base: Backbone, *slices: str) -> str:
    video_id = new_video_id()
    await base.objects.put(media_key(video_id), b"media")
    await base.videos.create(video_id, title="t", source=SOURCE)
    await base.videos.begin_processing(video_id)
    for number, slice_id in enumerate(slices):
        await base.videos.add_slice(video_id, slice_id, start_time=number, end_time=number + 1)
    return video_id


async def test_a_dead_slice_fails_with_its_reason(mesh: Gateway) -> None:
    base = mesh.backbone
    video_id = await processing(base, "00000")
    await base.videos.finish_slicing(video_id, duration=1)
    event = OwedEvent.of("slice.cut", pb.SliceCut(video_id=video_id, slice_id="00000"), video_id)
    await dead_letter(base, event, consumer="recognizer")

    async def failed() -> bool:
        return (await base.videos.get(video_id)).status is VideoStatus.FAILED

    await eventually(failed)
    video = await base.videos.get(video_id)
    assert video.error is not None
    assert (video.error.stage, video.error.reason, video.error.slice_id) == ("transcribe", "MEDIA_UNREADABLE", "00000")
    assert "the audio cannot be decoded" in video.error.message
    assert video.slices[0].state is SliceState.FAILED


async def test_a_dead_upload_fails_the_video(mesh: Gateway) -> None:
    base = mesh.backbone
    video_id = await processing(base)
    event = OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video_id), video_id)
    await dead_letter(base, event, consumer="slicer")

    async def failed() -> bool:
        video = (await mesh.http.get(f"/videos/{video_id}")).json()
        return video["status"] == "failed" and video["error"]["stage"] == "slice"

    await eventually(failed)


async def test_what_is_made_beside_and_dies_fails_no_video(mesh: Gateway) -> None:
    base = mesh.backbone
    video_id = await processing(base)
    await base.videos.set_playback(video_id, Playback(Playable.PREPARING))
    stored = OwedEvent.of("video.stored", pb.VideoStored(video_id=video_id), video_id)
    unplayable = OwedEvent.of("video.unplayable", pb.VideoUnplayable(video_id=video_id), video_id)
    await dead_letter(base, stored, consumer="illustrator")
    await dead_letter(base, unplayable, consumer="renderer")

    async def told() -> bool:
        video = await base.videos.get(video_id)
        return video.pictures is not None and video.playback is not None and video.playback.state is Playable.FAILED

    await eventually(told)
    assert (await base.videos.get(video_id)).status is VideoStatus.PROCESSING


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", pb.DeadLetter(subject="other.subject").SerializeToString()])
async def test_a_letter_nobody_understands_does_not_stop_the_others(mesh: Gateway, payload: bytes) -> None:
    base = mesh.backbone
    await base.bus.js.publish("earmark.dead.v1.slicer", payload)
    video_id = await processing(base)
    event = OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video_id), video_id)
    await dead_letter(base, event, consumer="slicer")

    async def failed() -> bool:
        return (await base.videos.get(video_id)).status is VideoStatus.FAILED

    await eventually(failed)


async def test_an_event_that_stayed_owed_is_published(mesh: Gateway) -> None:
    base = mesh.backbone
    video_id = new_video_id()
    await base.videos.create(video_id, title="t", source=SOURCE)
    event = OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video_id), video_id)
    entry = {"event_id": event.event_id, "subject": event.subject, "payload": event.payload}
    doc = await base.database["videos"].find_one({"_id": video_id})
    assert doc is not None
    before = await base.bus.last_sequence()
    owed = {**entry, "at": doc["updated_at"]}
    await base.database["videos"].update_one({"_id": video_id}, {"$push": {"outbox": owed}})

    async def published() -> bool:
        left = await base.database["videos"].find_one({"_id": video_id})
        return left is not None and left["outbox"] == [] and await base.bus.last_sequence() == before + 1

    await eventually(published)


def deleted(video_id: str, deliveries: int = 1) -> Event:
    message = pb.VideoDeleted(video_id=video_id)
    subject = topology.subject("video.deleted", video_id)
    return Event("video.deleted", subject, message.SerializeToString(), message, 1, deliveries, False)


async def test_the_cleaner_looks_again_when_work_was_under_way(backbone: Backbone) -> None:
    cleaner = Cleaner(videos=backbone.videos, objects=backbone.objects)
    video_id = await processing(backbone, "00000")
    await backbone.videos.mark_deleting(video_id)
    outcome = await cleaner.handle(deleted(video_id))
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds is not None
    assert outcome.after_seconds > 0
    await backbone.objects.put(transcript_key(video_id, "00000"), b"late")  # by a worker that did not know
    outcome = await cleaner.handle(deleted(video_id, 2))
    assert not isinstance(outcome, Retry)
    assert await backbone.objects.list("videos/") == []


async def test_the_cleaner_keeps_a_video_nobody_deleted(backbone: Backbone) -> None:
    cleaner = Cleaner(videos=backbone.videos, objects=backbone.objects)
    video_id = await processing(backbone)
    assert isinstance(await cleaner.handle(deleted(video_id)), Reject)
    assert await backbone.objects.list("videos/") == [media_key(video_id)]
