"""The store of video documents on a real MongoDB-protocol server and a real JetStream."""

import asyncio

import numpy as np
import pytest

from services.common.errors import FailedPrecondition, VideoNotFound
from services.common.events import topology
from services.common.ids import chunk_id, new_video_id, slot_of
from services.common.videos.model import (
    ChunkRecord,
    PictureSet,
    Playable,
    Playback,
    Rendition,
    SliceState,
    Source,
    VideoStatus,
    VideoWarning,
)
from services.common.videos.store import VideoStore
from services.common.videos.stored import chunk_records
from tests.support.mesh import Backbone

SOURCE = Source(filename="talk.mp4", content_type="video/mp4", bytes=5, sha256="0" * 64)


async def subjects(backbone: Backbone) -> list[str]:
    """Kinds of all events in the stream, in order."""
    last = await backbone.bus.last_sequence()
    return [
        topology.kind_of((await backbone.bus.js.get_msg(topology.EVENTS, seq=n)).subject or "")
        for n in range(1, last + 1)
    ]


def chunk(video_id: str, slice_id: str, number: int, text: str = "hello there") -> ChunkRecord:
    vector = np.full(384, 1 / np.sqrt(384), dtype=np.float32)
    return ChunkRecord(chunk_id(video_id, slice_id, number), slice_id, text, 1.0, 2.0, vector, [(0, 1.0)], "en")


async def cut(backbone: Backbone, *, slices: int) -> str:
    """A video in processing with that many slices, slicing done."""
    video_id = new_video_id()
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    await backbone.videos.begin_processing(video_id)
    for index in range(slices):
        await backbone.videos.add_slice(
            video_id, f"{index:05d}", start_time=index * 300.0, end_time=(index + 1) * 300.0
        )
    await backbone.videos.finish_slicing(video_id, duration=slices * 300.0)
    return video_id


async def embed(backbone: Backbone, video_id: str, slice_id: str, chunks: int = 2) -> None:
    await backbone.videos.slice_transcribed(video_id, slice_id, language="en", asr_model="base")
    records = [chunk(video_id, slice_id, n) for n in range(chunks)]
    await backbone.videos.slice_embedded(video_id, slice_id, chunks=records, embedding_model="minilm")


async def test_a_video_goes_all_the_way(backbone: Backbone) -> None:
    video_id = await cut(backbone, slices=2)
    for slice_id in ("00001", "00000"):
        await embed(backbone, video_id, slice_id)
        await backbone.videos.slice_indexed(video_id, slice_id)
    video = await backbone.videos.get(video_id)
    assert video.status is VideoStatus.READY
    assert video.metadata.language == "en"
    assert video.metadata.processed_at is not None
    assert video.progress.fraction == 1.0
    assert video.progress.seconds_searchable == 600.0
    stored = await backbone.videos.chunks(video_id)
    assert [c.chunk_id for c in stored] == [chunk_id(video_id, s, n) for s in ("00000", "00001") for n in (0, 1)]
    np.testing.assert_allclose(stored[0].embedding, chunk(video_id, "00000", 0).embedding)
    assert await subjects(backbone) == [
        "video.uploaded", "video.stored", "slice.cut", "slice.cut", "video.described",
        "slice.transcribed", "slice.embedded", "slice.indexed",
        "slice.transcribed", "slice.embedded", "slice.indexed", "video.ready",
    ]  # fmt: skip
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    assert raw["outbox"] == []
    assert raw["slot"] == slot_of(video_id)
    assert raw["transcripts"][0]["embedding"].subtype == 9


async def test_doing_a_step_twice_changes_nothing(backbone: Backbone) -> None:
    video_id = await cut(backbone, slices=1)
    assert not await backbone.videos.add_slice(video_id, "00000", start_time=0, end_time=300)
    await embed(backbone, video_id, "00000")
    await embed(backbone, video_id, "00000")
    assert await backbone.videos.count_attempt(video_id, "00000") is None
    assert await backbone.videos.slice_indexed(video_id, "00000")
    assert not await backbone.videos.slice_indexed(video_id, "00000")
    assert len(await backbone.videos.chunks(video_id)) == 2
    kinds = await subjects(backbone)
    assert sorted(kinds) == sorted(set(kinds))


async def test_a_video_without_speech_is_ready(backbone: Backbone) -> None:
    video_id = new_video_id()
    await backbone.videos.create(video_id, title="Silence", source=SOURCE)
    await backbone.videos.begin_processing(video_id)
    await backbone.videos.finish_slicing(
        video_id, duration=60.0, warnings=[VideoWarning("NO_SPEECH", "no speech was found")]
    )
    video = await backbone.videos.get(video_id)
    assert video.status is VideoStatus.READY
    assert [w.reason for w in video.warnings] == ["NO_SPEECH"]


async def test_a_failed_slice_fails_the_video_when_the_others_are_done_and_retry_does_only_that(
    backbone: Backbone,
) -> None:
    video_id = await cut(backbone, slices=2)
    assert await backbone.videos.count_attempt(video_id, "00001") == 1
    assert await backbone.videos.fail_slice(
        video_id, "00001", stage="transcribe", reason="WORKER_DIED", message="it died"
    )
    assert (await backbone.videos.get(video_id)).status is VideoStatus.PROCESSING
    with pytest.raises(FailedPrecondition):
        await backbone.videos.retry(video_id)
    await embed(backbone, video_id, "00000")
    await backbone.videos.slice_indexed(video_id, "00000")
    video = await backbone.videos.get(video_id)
    assert video.status is VideoStatus.FAILED
    assert video.error is not None
    assert (video.error.slice_id, video.error.reason) == ("00001", "WORKER_DIED")

    before = len(await subjects(backbone))
    video = await backbone.videos.retry(video_id)
    assert (video.status, video.error) == (VideoStatus.PROCESSING, None)
    assert [s.state for s in video.slices] == [SliceState.INDEXED, SliceState.CUT]
    assert (await subjects(backbone))[before:] == ["slice.cut"]
    await embed(backbone, video_id, "00001")
    await backbone.videos.slice_indexed(video_id, "00001")
    assert (await backbone.videos.get(video_id)).status is VideoStatus.READY


async def test_slices_indexed_at_the_same_moment_leave_the_video_ready(backbone: Backbone) -> None:
    for _ in range(10):
        video_id = await cut(backbone, slices=3)
        for index in range(3):
            await embed(backbone, video_id, f"{index:05d}", chunks=0)
        await asyncio.gather(*(backbone.videos.slice_indexed(video_id, f"{index:05d}") for index in range(3)))
        assert (await backbone.videos.get(video_id)).status is VideoStatus.READY


async def test_a_failure_of_the_whole_begins_again_with_what_is_cut(backbone: Backbone) -> None:
    video_id = new_video_id()
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    await backbone.videos.begin_processing(video_id)
    await backbone.videos.add_slice(video_id, "00000", start_time=0, end_time=300)
    await backbone.videos.fail(video_id, stage="slice", reason="TIMEOUT", message="took too long")
    assert await backbone.videos.begin_processing(video_id) is None
    assert (await backbone.videos.retry(video_id)).status is VideoStatus.UPLOADED
    video = await backbone.videos.begin_processing(video_id)
    assert video is not None
    assert [s.slice_id for s in video.slices] == ["00000"]


async def test_a_deleted_video_takes_nothing_more(backbone: Backbone) -> None:
    video_id = await cut(backbone, slices=1)
    await backbone.videos.mark_deleting(video_id)
    assert not await backbone.videos.slice_transcribed(video_id, "00000", language="en", asr_model="base")
    assert (await backbone.videos.mark_deleting(video_id)).status is VideoStatus.DELETING
    await backbone.videos.remove(video_id)
    with pytest.raises(VideoNotFound):
        await backbone.videos.get(video_id)
    with pytest.raises(VideoNotFound):
        await backbone.videos.mark_deleting(video_id)


async def test_a_full_document_continues_beside_itself(backbone: Backbone) -> None:
    store = VideoStore(backbone.database, backbone.bus, document_bytes=6000)
    video_id = await cut(backbone, slices=3)
    for slice_id in ("00000", "00001", "00002"):
        await store.slice_transcribed(video_id, slice_id, language="en", asr_model="base")
        records = [chunk(video_id, slice_id, n) for n in range(2)]
        assert await store.slice_embedded(video_id, slice_id, chunks=records, embedding_model="minilm")
        assert not await store.slice_embedded(video_id, slice_id, chunks=records, embedding_model="minilm")
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    assert len(raw["transcripts"]) < 6
    assert len(await store.chunks(video_id)) == 6
    assert [len(await store.chunks(video_id, s)) for s in ("00000", "00001", "00002")] == [2, 2, 2]
    scanned = [stored.read() async for stored in store.scan({slot_of(video_id)})]
    assert [(video.video_id, len(chunk_records(fields))) for video, fields in scanned] == [(video_id, 6)]
    await store.mark_deleting(video_id)
    await store.remove(video_id)
    assert await backbone.database["continuations"].count_documents({}) == 0


async def test_what_a_crash_left_owed_is_published_once(backbone: Backbone) -> None:
    video_id = new_video_id()
    await backbone.videos.create(video_id, title="A talk", source=SOURCE)
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    # As a crash between the update and the publishing leaves it: the event stands in the document only ...
    await backbone.bus.js.purge_stream(topology.EVENTS)
    old = raw["metadata"]["uploaded_at"].replace(year=2020)
    entry = {"event_id": "lost-1", "subject": topology.subject("video.uploaded", video_id), "payload": b"", "at": old}
    await backbone.database["videos"].update_one({"_id": video_id}, {"$push": {"outbox": entry}})
    assert await backbone.videos.publish_owed(older_than_seconds=10) == 1
    assert await backbone.videos.publish_owed(older_than_seconds=10) == 0
    # ... and as a crash between the publishing and the clearing leaves it: it stands in both.
    await backbone.database["videos"].update_one({"_id": video_id}, {"$push": {"outbox": entry}})
    assert await backbone.videos.publish_owed(older_than_seconds=10) == 1
    assert (await backbone.bus.js.stream_info(topology.EVENTS)).state.messages == 1


async def test_a_stalled_video_is_nudged_on(backbone: Backbone) -> None:
    video_id = await cut(backbone, slices=2)
    await backbone.videos.slice_transcribed(video_id, "00000", language="en", asr_model="base")
    before = len(await subjects(backbone))
    assert await backbone.videos.stalled(older_than_seconds=60) == []
    [video] = await backbone.videos.stalled(older_than_seconds=-1)
    await backbone.videos.nudge(video)
    assert sorted((await subjects(backbone))[before:]) == ["slice.cut", "slice.transcribed"]


async def test_lists_are_newest_first_and_paged(backbone: Backbone) -> None:
    ids = [new_video_id() for _ in range(5)]
    for video_id in ids:
        await backbone.videos.create(video_id, title=video_id, source=SOURCE)
    seen: list[str] = []
    before = None
    while page := await backbone.videos.page(limit=2, before=before):
        seen += [video.video_id for video in page]
        before = (page[-1].metadata.uploaded_at, page[-1].video_id)
    assert seen == sorted(ids, reverse=True)
    assert await backbone.videos.page(limit=2, status=VideoStatus.READY) == []


async def indexed(store: VideoStore, video_id: str, *texts: str) -> None:
    """Slice by slice to its end, with a chunk of each text."""
    for number, text in enumerate(texts):
        name = f"{number:05d}"
        await store.slice_transcribed(video_id, name, language="en", asr_model="base")
        await store.slice_embedded(video_id, name, chunks=[chunk(video_id, name, 0, text)], embedding_model="minilm")
        await store.slice_indexed(video_id, name)


@pytest.mark.parametrize("document_bytes", [12 * 2**20, 4000, 0])
async def test_an_edit_replaces_the_chunks_of_its_slice_alone(backbone: Backbone, document_bytes: int) -> None:
    # All in the document, the first slice in it, none in it.
    store = VideoStore(backbone.database, backbone.bus, document_bytes=document_bytes)
    video_id = await cut(backbone, slices=2)
    await indexed(store, video_id, "one", "two")
    for turn in (1, 2):
        video = await store.edit_transcript(video_id, {"00001": f"e{turn}"}, transcript_revision=turn - 1)
        assert (video.status, video.transcript_revision) == (VideoStatus.PROCESSING, turn)
        assert [part.state for part in video.slices] == [SliceState.INDEXED, SliceState.TRANSCRIBED]
        before = await store.former_chunks(video_id, "00001")
        assert [c.text for c in before] == [f"edit {turn - 1}" if turn > 1 else "two"]
        new = [chunk(video_id, "00001", n, f"edit {turn}") for n in range(turn)]
        assert not await store.slice_embedded(video_id, "00001", chunks=[], embedding_model="minilm")  # of no edit
        assert await store.slice_embedded(video_id, "00001", chunks=new, embedding_model="minilm", edit=f"e{turn}")
        assert not await store.slice_embedded(video_id, "00001", chunks=[], embedding_model="minilm", edit=f"e{turn}")
        assert [c.text for c in await store.chunks(video_id)] == ["one"] + [f"edit {turn}"] * turn
        (_, fields), *others = [stored.read() async for stored in store.scan(range(256))]
        assert [c.text for c in chunk_records(fields)] == ["one"] + [f"edit {turn}"] * turn
        assert not others
        assert not await store.slice_indexed(video_id, "00001", edit="")  # what an indexer has read before
        assert await store.slice_indexed(video_id, "00001", edit=f"e{turn}")
        assert (await store.get(video_id)).status is VideoStatus.READY
        await indexed_again(store, video_id, turn)
    assert await backbone.database["continuations"].count_documents({"video_id": video_id}) == {
        12 * 2**20: 0,
        4000: 1,
        0: 2,
    }.get(document_bytes)


async def indexed_again(store: VideoStore, video_id: str, turn: int) -> None:
    """An event that comes a second time changes nothing."""
    before = await store.get(video_id)
    assert not await store.slice_indexed(video_id, "00001", edit=f"e{turn}")
    assert (await store.get(video_id)).revision == before.revision


async def test_an_edit_broken_off_between_its_steps_is_done_again(backbone: Backbone) -> None:
    store = backbone.videos
    video_id = await cut(backbone, slices=1)
    await indexed(store, video_id, "one")
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    size = raw["transcripts_bytes"]
    await store.edit_transcript(video_id, {"00000": "e1"}, transcript_revision=0)
    state = {"slices": {"$elemMatch": {"slice_id": "00000", "state": "transcribed", "edit": "e1"}}}
    await asyncio.gather(*(store._drop_chunks(video_id, "00000", state) for _ in range(3)))  # killed behind it
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    assert (raw["transcripts"], raw["transcripts_bytes"]) == ([], 0)
    new = [chunk(video_id, "00000", 0, "two")]
    done = await asyncio.gather(
        *(store.slice_embedded(video_id, "00000", chunks=new, embedding_model="minilm", edit="e1") for _ in range(3))
    )
    assert sum(done) == 1
    raw = await backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    assert (len(raw["transcripts"]), raw["transcripts_bytes"]) == (1, size)


async def test_of_two_edits_of_one_revision_one_is_refused_and_a_failed_slice_is_mended(backbone: Backbone) -> None:
    store = backbone.videos
    video_id = await cut(backbone, slices=1)
    await store.fail_slice(video_id, "00000", stage="transcribe", reason="WORKER_DIED", message="it died")
    assert (await store.get(video_id)).status is VideoStatus.FAILED
    both = await asyncio.gather(
        *(store.edit_transcript(video_id, {"00000": name}, transcript_revision=0) for name in ("a", "b")),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in both) == ["TranscriptChanged", "Video"]
    video = await store.get(video_id)
    assert (video.status, video.error, video.transcript_revision) == (VideoStatus.PROCESSING, None, 1)
    assert not await store.slice_transcribed(video_id, "00000", language="en", asr_model="base")  # a late recognizer
    await store.mark_deleting(video_id)
    with pytest.raises(VideoNotFound):
        await store.edit_transcript(video_id, {"00000": "c"}, transcript_revision=1)


async def test_what_is_made_beside_is_owed_once_and_again_when_it_seems_lost(backbone: Backbone) -> None:
    videos = backbone.videos
    video_id = await cut(backbone, slices=0)

    async def owed(kind: str) -> int:
        return (await subjects(backbone)).count(kind)

    assert await owed("video.stored") == 1
    assert await videos.want_pictures(video_id)
    assert not await videos.want_pictures(video_id), "asked for a moment ago"
    assert await videos.want_pictures(video_id, again_seconds=-1)
    await videos.set_pictures(video_id, PictureSet("01h", 3))
    assert not await videos.want_pictures(video_id, again_seconds=-1), "there are some"
    assert await owed("video.stored") == 3

    assert not await videos.want_rendition(video_id, again_seconds=-1), "nobody has said that it does not play"
    preparing = Playback(Playable.PREPARING, "UNPLAYABLE", "Browsers do not play it.")
    assert await videos.set_playback(video_id, preparing)
    assert not await videos.want_rendition(video_id)
    assert await videos.want_rendition(video_id, again_seconds=-1)
    assert await owed("video.unplayable") == 2
    made = Playback(Playable.RENDITION, rendition=Rendition("01h", "video/mp4", 7))
    assert await videos.set_playback(video_id, made, only_from=Playable.PREPARING)
    assert not await videos.set_playback(video_id, made, only_from=Playable.PREPARING), "of two the first counts"
    assert not await videos.want_rendition(video_id, again_seconds=-1)
    video = await videos.get(video_id)
    assert (video.playback, video.pictures) == (made, PictureSet("01h", 3))

    await videos.mark_deleting(video_id)
    assert not await videos.set_pictures(video_id, PictureSet("02h", 1))
    assert not await videos.set_playback(video_id, made)


async def test_a_retry_is_not_refused_because_something_else_changed(backbone: Backbone) -> None:
    video_id = await cut(backbone, slices=1)
    await backbone.videos.fail_slice(video_id, "00000", stage="transcribe", reason="X", message="x")
    retries = [backbone.videos.retry(video_id)]
    changes = [backbone.videos.set_pictures(video_id, PictureSet(str(number), 1)) for number in range(20)]
    retried, *_ = await asyncio.gather(*retries, *changes)
    assert retried.status is VideoStatus.PROCESSING
    with pytest.raises(FailedPrecondition):
        await backbone.videos.retry(video_id)
