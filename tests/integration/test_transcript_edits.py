"""Transcripts given and corrected, on a whole gateway with a real store, and through a real embedder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast

import httpx
import numpy as np
import pytest

from services.common.ids import new_video_id
from services.common.objects import ObjectStore, transcript_key
from services.common.runner import Service, serve
from services.common.transcript import Segment, SliceTranscript, Word
from services.common.videos.model import SliceState, Source, VideoStatus
from services.common.videos.store import VideoStore
from services.embedder.app import build
from services.embedder.settings import Settings
from services.gateway.edits import Edits
from tests.support.gateway import Gateway
from tests.support.mortal import Killed, Life, Mortal
from tests.support.waiting import eventually

VTT = {"Content-Type": "text/vtt"}


GATEWAY = {"import_max_bytes": 100_000, "stalled_after_seconds": 3600}


@pytest.fixture
async def embedder(mesh: Gateway) -> AsyncIterator[None]:
    """The embedder with the hash model, on what the gateway runs on."""
    common = mesh.backbone.settings.model_dump() | {"grpc_port": 0, "metrics_port": 0}
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def build_it(settings: Settings, stack: AsyncExitStack) -> Service:
        service = await build(settings, stack)
        service.on_serving = lambda port, _: listening.set_result(port)
        return service

    settings = Settings(**(common | {"embedding_model": "hash:32"}))
    task = asyncio.create_task(serve("embedder", settings, build_it, stop=stop))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    yield
    stop.set()
    assert await task == 0


def said(slice_id: str, start: float, *texts: str) -> list[Segment]:
    segments = []
    for number, text in enumerate(texts):
        at = start + number * 20.0
        words = [Word(at + n * 0.5, at + n * 0.5 + 0.4, f" {word}", 0.8) for n, word in enumerate(text.split())]
        segments.append(Segment(at, words[-1].end, f" {text}", words, confidence=0.7))
    return segments


TEXTS = {
    "00000": ("Good evening to everybody here.", "The yeast eats the sugar.", "Then the bread rises slowly."),
    "00001": ("Now we bake it well.", "The oven is hot.", "That is all for today."),
}


async def heard(mesh: Gateway, *, settled: bool = True) -> str:
    """A video of two slices that a recognizer has gone through."""
    videos, video_id = mesh.backbone.videos, new_video_id()
    await videos.create(video_id, title="Bread", source=Source("talk.mp4", "video/mp4", 5, "0" * 64))
    await videos.begin_processing(video_id)
    for number, part in enumerate(TEXTS):
        await videos.add_slice(video_id, part, start_time=number * 60.0, end_time=number * 60.0 + 60)
    if not settled:
        return video_id
    await videos.finish_slicing(video_id, duration=120.0)
    for number, (part, texts) in enumerate(TEXTS.items()):
        start = number * 60.0
        transcript = SliceTranscript(video_id, part, start, start + 60, "en", 1.0, "base", said(part, start, *texts))
        await mesh.backbone.objects.put(transcript_key(video_id, part), transcript.to_bytes())
        await videos.slice_transcribed(video_id, part, language="en", asr_model="base")
    return video_id


async def index(mesh: Gateway, video_id: str) -> None:
    """Waits for the embedder, and does what an indexer does."""

    async def embedded() -> object:
        states = {part.state for part in (await mesh.backbone.videos.get(video_id)).slices}
        return states <= {SliceState.EMBEDDED, SliceState.INDEXED}

    await eventually(embedded, 20)
    for part in (await mesh.backbone.videos.get(video_id)).slices:
        if part.state is SliceState.EMBEDDED:
            await mesh.backbone.videos.slice_indexed(video_id, part.slice_id, edit=part.edit)


async def transcript(mesh: Gateway, video_id: str, **params: Any) -> dict[str, Any]:
    response = await mesh.http.get(f"/videos/{video_id}/transcript", params=params)
    assert response.status_code == 200, response.text
    assert response.headers["etag"].startswith(f'"{response.json()["revision"]}-')
    shown: dict[str, Any] = response.json()
    return shown


async def correct(mesh: Gateway, video_id: str, segment: str, revision: str = "", **change: Any) -> httpx.Response:
    headers = {"If-Match": revision} if revision else {}
    return await mesh.http.patch(f"/videos/{video_id}/transcript/segments/{segment}", json=change, headers=headers)


def reason(response: httpx.Response) -> str:
    return str(response.json()["error"]["details"][0]["reason"])


async def test_only_what_a_correction_changes_is_embedded_again(mesh: Gateway, embedder: None) -> None:
    videos = mesh.backbone.videos
    video_id = await heard(mesh)
    await index(mesh, video_id)
    assert (await videos.get(video_id)).status is VideoStatus.READY
    before = {chunk.chunk_id: chunk for chunk in await videos.chunks(video_id)}

    response = await correct(mesh, video_id, "00001.1", '"0"', text="The stove is glowing.")
    assert response.status_code == 200, response.text
    assert (response.json()["revision"], response.headers["etag"]) == (1, '"1"')
    edited = response.json()["segment"]
    assert (edited["segment_id"], edited["text"], edited["start"]) == ("00001.1", "The stove is glowing.", 80.0)
    assert [(word["text"], word["probability"]) for word in edited["words"]] == [
        (" The", 0.8), (" stove", 1.0), (" is", 0.8), (" glowing.", 1.0),
    ]  # fmt: skip
    video = await videos.get(video_id)
    assert video.status is VideoStatus.PROCESSING
    assert video.slices[0].state is SliceState.INDEXED

    await index(mesh, video_id)
    assert (await videos.get(video_id)).status is VideoStatus.READY
    after = {chunk.chunk_id: chunk for chunk in await videos.chunks(video_id)}
    assert after.keys() == before.keys()
    told = " ".join(chunk.text for chunk in after.values())
    assert "stove is glowing" in told
    assert "oven" not in told
    for chunk_id, chunk in after.items():
        if chunk.text == before[chunk_id].text:
            np.testing.assert_array_equal(chunk.embedding, before[chunk_id].embedding)
        else:
            assert chunk.slice_id == "00001"
    raw = await mesh.backbone.database["videos"].find_one({"_id": video_id})
    assert raw is not None
    alone = await heard(mesh)
    await index(mesh, alone)
    other = await mesh.backbone.database["videos"].find_one({"_id": alone})
    assert other is not None
    assert abs(raw["transcripts_bytes"] - other["transcripts_bytes"]) < 100  # what was replaced does not count

    shown = await transcript(mesh, video_id)
    assert [one["text"].strip() for one in shown["segments"]][4] == "The stove is glowing."
    assert [one["segment_id"] for one in shown["segments"]] == [f"0000{part}.{n}" for part in (0, 1) for n in range(3)]
    original = await transcript(mesh, video_id, original=True)
    assert [one["text"].strip() for one in original["segments"]] == [*TEXTS["00000"], *TEXTS["00001"]]


async def test_corrections_follow_each_other_and_wrong_revisions_are_refused(mesh: Gateway) -> None:
    video_id = await heard(mesh)
    for number, word in enumerate(("one", "two", "three")):  # while nothing of it is embedded yet
        answer = await correct(mesh, video_id, "00000.0", f'"{number}"', text=f"Number {word}.")
        assert answer.json()["revision"] == number + 1
    stale = await correct(mesh, video_id, "00000.0", '"1"', text="Number four.")
    assert (stale.status_code, reason(stale)) == (412, "TRANSCRIPT_CHANGED")
    assert "revision 3" in stale.json()["error"]["message"]
    early = await correct(mesh, video_id, "00000.0", '"9"', text="Number four.")
    assert (early.status_code, reason(early)) == (412, "TRANSCRIPT_CHANGED")
    assert "has no revision 9 yet" in early.json()["error"]["message"]
    assert (await transcript(mesh, video_id))["segments"][0]["text"] == "Number three."
    assert (await correct(mesh, video_id, "00000.0", '"x"', text="Number four.")).status_code == 400
    both = await asyncio.gather(
        correct(mesh, video_id, "00000.0", text="Left."), correct(mesh, video_id, "00000.1", text="Right.")
    )
    assert [answer.status_code for answer in both] == [200, 200]  # without a revision the second goes on from the first
    assert [one["text"] for one in (await transcript(mesh, video_id))["segments"]][:2] == ["Left.", "Right."]
    # Of edits only those that count are kept.
    keys = await mesh.backbone.objects.list(f"videos/{video_id}/slices/")
    assert len([key for key in keys if ".edited." in key]) == 1


@pytest.mark.parametrize(
    ("segment", "change", "status", "why"),
    [
        ("00000.9", {"text": "x"}, 404, "SEGMENT_NOT_FOUND"),
        ("00007.0", {"text": "x"}, 404, "SEGMENT_NOT_FOUND"),
        ("nonsense", {"text": "x"}, 404, "SEGMENT_NOT_FOUND"),
        ("00000.0", {"text": "  "}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {"text": "x" * 10_001}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {"end": 21.0}, 400, "INVALID_ARGUMENT"),
        ("00000.1", {"start": 30.0}, 400, "INVALID_ARGUMENT"),
        ("00000.2", {"end": 70.0}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {"start": -1.0}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {"suspect": "rumour"}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {"speaker": "x" * 101}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {"words": []}, 400, "INVALID_ARGUMENT"),
        ("00000.0", {}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_wrong_corrections_say_what_to_do(
    mesh: Gateway, segment: str, change: dict[str, Any], status: int, why: str
) -> None:
    video_id = await heard(mesh)
    response = await correct(mesh, video_id, segment, **change)
    assert (response.status_code, reason(response)) == (status, why), response.text
    assert (await mesh.backbone.videos.get(video_id)).transcript_revision == 0
    assert len(await mesh.backbone.objects.list(f"videos/{video_id}/")) == 2


async def test_a_start_before_the_beginning_is_told_as_that(mesh: Gateway) -> None:
    response = await correct(mesh, await heard(mesh), "00000.0", start=-1)
    assert response.json()["error"]["message"].endswith("a start is at least 0")


async def test_what_nobody_says_is_left_out_of_captions_and_chunks(mesh: Gateway, embedder: None) -> None:
    video_id = await heard(mesh)
    answer = await correct(mesh, video_id, "00000.1", suspect=True, speaker="Ann")
    assert answer.json()["segment"]["suspect"] == "marked"
    assert len(answer.json()["segment"]["words"]) == 5
    captions = (await mesh.http.get(f"/videos/{video_id}/transcript", params={"format": "srt"})).text
    assert "yeast" not in captions
    await index(mesh, video_id)
    assert "yeast" not in " ".join(chunk.text for chunk in await mesh.backbone.videos.chunks(video_id))
    assert (await correct(mesh, video_id, "00000.1", suspect=False)).json()["segment"]["suspect"] == ""


async def test_a_whole_transcript_is_put_and_only_changed_slices_are_done_again(mesh: Gateway, embedder: None) -> None:
    video_id = await heard(mesh)
    await index(mesh, video_id)
    shown = await transcript(mesh, video_id)
    url = f"/videos/{video_id}/transcript"
    same = await mesh.http.put(url, json=shown)
    assert (same.status_code, same.json()["transcript_revision"], same.json()["status"]) == (202, 0, "ready")

    shown["segments"][4]["text"] = "The stove is hot."
    put = await mesh.http.put(url, json=shown, headers={"If-Match": '"0"'})
    assert put.status_code == 202, put.text
    assert (put.json()["transcript_revision"], put.json()["status"]) == (1, "processing")
    states = {part.slice_id: part.state for part in (await mesh.backbone.videos.get(video_id)).slices}
    assert states["00000"] is SliceState.INDEXED
    await index(mesh, video_id)
    after = await transcript(mesh, video_id)
    assert after["segments"][4]["text"] == "The stove is hot."
    assert [word["start"] for word in after["segments"][4]["words"]] == [80.0, 80.4, 81.0, 81.5]
    assert after["segments"][3]["confidence"] == 0.7  # what did not change keeps what was known of it
    assert (await mesh.http.put(url, json=shown, headers={"If-Match": '"0"'})).status_code == 412
    assert (await mesh.http.put(url, json=shown, headers={"If-Match": '"-1"'})).status_code == 400


async def test_captions_are_put_and_come_back(mesh: Gateway) -> None:
    video_id = await heard(mesh)
    url = f"/videos/{video_id}/transcript"
    vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\n<v Ann>Hello there.\n\n01:10.000 --> 01:12.000\nGood &amp; bye.\n"
    assert (await mesh.http.put(url, content=vtt, headers=VTT)).status_code == 202
    assert (await mesh.http.get(url, params={"format": "vtt"})).text == (
        "WEBVTT\nLanguage: en\n\n00:00:01.000 --> 00:00:03.000\n<v Ann>Hello there.\n\n"
        "00:01:10.000 --> 00:01:12.000\nGood &amp; bye.\n"
    )
    srt = (await mesh.http.get(url, params={"format": "srt"})).content
    put = await mesh.http.put(url, content=srt, headers={"Content-Type": "application/x-subrip"})
    assert put.status_code == 202
    assert [one["text"] for one in (await transcript(mesh, video_id))["segments"]] == ["Hello there.", "Good & bye."]


async def test_times_a_person_puts_are_not_moved_to_where_words_were_heard(mesh: Gateway) -> None:
    video_id = await heard(mesh)
    url = f"/videos/{video_id}/transcript"
    vtt = "WEBVTT\n\n00:19.600 --> 00:29.000\nThe yeast eats all sugar.\n"
    assert (await mesh.http.put(url, content=vtt, headers=VTT)).status_code == 202
    assert (await transcript(mesh, video_id))["segments"][0]["words"]  # what was heard is known still
    shown = (await mesh.http.get(url, params={"format": "vtt"})).text
    assert shown.endswith("\n00:00:19.600 --> 00:00:26.600\nThe yeast eats all sugar.\n")


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        ("WEBVTT\n\n00:01.000 --> 00:00.500\nx\n", "text/vtt", 400, "before it starts"),
        ("WEBVTT\n\n00:01.000 --> 99:00:00.000\nx\n", "text/vtt", 400, "24 hours"),
        ("WEBVTT\n\n00:01.000 --> " + "9" * 400 + ":00:00.000\nx\n", "text/vtt", 400, "times of cue 1"),
        ("1\n00:00:01,000 --> " + "9" * 5000 + ":00:00,000\nx\n", "application/x-subrip", 400, "times of cue 1"),
        ("WEBVTT\n\n00:01.000 --> 01:50.000\nx\n\n00:01.500 --> 01:50.000\ny\n", "text/vtt", 400, "overlap"),
        ("WEBVTT\n\n01:00.000 --> 01:50.000\nx\n\n01:05.000 --> 01:49.000\ny\n", "text/vtt", 202, ""),
        ("WEBVTT\n\n00:01.000 --> 10:00.000\nx\n", "text/vtt", 400, "media is 120 s"),
        ("WEBVTT\n\n00:01.000 --> 01:30.000\nx\n\n01:28.000 --> 01:29.000\ny\n\n00:02.000 --> 00:03.000\nz\n",
         "text/vtt", 400, "sort them"),
        ("WEBVTT\n", "text/vtt", 400, "no cues"),
        ("", "text/vtt", 400, "WEBVTT"),
        ('{"segments": []}', "application/json", 400, "empty"),
        ("[]", "application/json", 400, "JSON object"),
        ('{"segments": [{"start": 1, "end": 2, "text": "x", "colour": 1}]}', "application/json", 400, "colour"),
        ("x" * 100_001, "text/vtt", 413, "limit"),
        ("x", "text/plain", 415, "Content-Type"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\n\xff\n", "text/vtt", 400, "UTF-8"),
    ],
)  # fmt: skip
async def test_wrong_transcripts_say_what_to_do(
    mesh: Gateway, body: str | bytes, kind: str, status: int, told: str
) -> None:
    video_id = await heard(mesh)
    response = await mesh.http.put(f"/videos/{video_id}/transcript", content=body, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert told in (response.json().get("error") or {"message": ""})["message"]
    assert (await mesh.backbone.videos.get(video_id)).transcript_revision == (status == 202)


async def test_a_transcript_waits_until_the_video_is_cut(mesh: Gateway) -> None:
    video_id = await heard(mesh, settled=False)
    vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\nHello there.\n"
    early = await mesh.http.put(f"/videos/{video_id}/transcript", content=vtt, headers=VTT)
    assert (early.status_code, reason(early)) == (409, "TRANSCRIPT_IN_THE_MAKING")
    early = await correct(mesh, video_id, "00000.0", text="Hello.")
    assert (early.status_code, reason(early)) == (409, "TRANSCRIPT_IN_THE_MAKING")
    gone = await mesh.http.put(f"/videos/{new_video_id()}/transcript", content=vtt, headers=VTT)
    assert (gone.status_code, reason(gone)) == (404, "VIDEO_NOT_FOUND")


async def test_a_video_that_could_not_be_heard_gets_its_words_from_a_person(mesh: Gateway, embedder: None) -> None:
    videos, video_id = mesh.backbone.videos, new_video_id()
    await videos.create(video_id, title="Noise", source=Source("talk.mp4", "video/mp4", 5, "0" * 64))
    await videos.fail(video_id, stage="slice", reason="MEDIA_UNREADABLE", message="it is broken")
    vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\nHello there.\n\n09:10.000 --> 09:12.000\nGoodbye.\n"
    put = await mesh.http.put(f"/videos/{video_id}/transcript", content=vtt, headers=VTT)
    assert (put.status_code, put.json()["error"], put.json()["duration"]) == (202, None, 552.0)
    assert not await videos.add_slice(video_id, "00009", start_time=0, end_time=1)  # a slicer that comes late
    await index(mesh, video_id)
    assert (await videos.get(video_id)).status is VideoStatus.READY
    assert [chunk.text for chunk in await videos.chunks(video_id)] == ["Hello there.", "Goodbye."]


async def test_what_failed_and_is_tried_again_stays_as_it_was_edited(mesh: Gateway, embedder: None) -> None:
    videos = mesh.backbone.videos
    video_id = await heard(mesh)
    await index(mesh, video_id)
    await correct(mesh, video_id, "00000.0", text="Good morning to you.")
    await index(mesh, video_id)
    await correct(mesh, video_id, "00001.0", text="Now we fry it.")
    await videos.fail_slice(video_id, "00001", stage="embed", reason="X", message="x")
    # A recognizer that was taken for dead writes where it always does.
    late = SliceTranscript(video_id, "00000", 0.0, 60.0, "en", 1.0, "base", said("00000", 0.0, "Something else."))
    await mesh.backbone.objects.put(transcript_key(video_id, "00000"), late.to_bytes())
    if (await videos.get(video_id)).status is VideoStatus.FAILED:
        await mesh.http.post(f"/videos/{video_id}/retry")
    await index(mesh, video_id)
    told = " ".join(chunk.text for chunk in await videos.chunks(video_id))
    assert "Good morning to you." in told
    assert "Now we fry it." in told
    assert "Something else" not in told


async def test_an_upload_with_captions_needs_no_recognizer(mesh: Gateway, embedder: None) -> None:
    vtt = b"WEBVTT\nLanguage: en\n\n00:01.000 --> 00:03.000\n<v Ann>Hello there.\n\n09:10.000 --> 09:12.000\nGoodbye.\n"
    files = {"file": ("talk.mp4", b"media", "video/mp4"), "captions": ("talk.vtt", vtt, "text/vtt")}
    response = await mesh.http.post("/videos/upload", files=files, data={"tag": "a"})
    assert response.status_code == 202, response.text
    shown = response.json()
    assert (shown["status"], shown["metadata"]["asr_model"], shown["duration"]) == ("processing", "imported", 552.0)
    assert (shown["source"]["bytes"], shown["tags"], shown["metadata"]["language"]) == (5, ["a"], "en")
    assert (await mesh.http.get(shown["links"]["media"])).content == b"media"
    await index(mesh, shown["video_id"])
    assert (await mesh.backbone.videos.get(shown["video_id"])).status is VideoStatus.READY
    told = [(chunk.text, chunk.speaker) for chunk in await mesh.backbone.videos.chunks(shown["video_id"])]
    assert told == [("Hello there.", "Ann"), ("Goodbye.", "")]


@pytest.mark.parametrize(("captions", "told"), [(b"hello", "captions cannot be read"), (b"[]", "a JSON object such")])
async def test_an_upload_with_captions_that_are_none_leaves_nothing(mesh: Gateway, captions: bytes, told: str) -> None:
    files = {"captions": ("talk.vtt", captions, "text/vtt"), "file": ("talk.mp4", b"media", "video/mp4")}
    response = await mesh.http.post("/videos/upload", files=files)
    assert response.status_code == 400
    assert told in response.json()["error"]["message"]
    assert await mesh.backbone.objects.list("videos/") == []


async def test_the_time_left_is_told_once_something_was_measured(mesh: Gateway) -> None:
    videos = mesh.backbone.videos
    first = await heard(mesh)
    assert (await mesh.http.get(f"/videos/{first}/status")).json()["progress"]["seconds_left"] is None
    await videos.slice_embedded(first, "00000", chunks=[], embedding_model="hash")
    await videos.slice_indexed(first, "00000")
    await asyncio.sleep(3.1)  # for so long the mesh is not asked again
    second = await heard(mesh)
    left = (await mesh.http.get(f"/videos/{second}")).json()["progress"]["seconds_left"]
    assert left is not None
    assert 0 < left < 60
    async with mesh.http.stream("GET", f"/videos/{first}/events") as stream:
        told = None
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                told = line
                break
    assert told is not None
    assert '"seconds_left":null' not in told
    await videos.slice_embedded(first, "00001", chunks=[], embedding_model="hash")
    await videos.slice_indexed(first, "00001")
    shown = (await mesh.http.get(f"/videos/{first}")).json()
    assert (shown["status"], shown["progress"]["seconds_left"]) == ("ready", None)


async def put_and_die(mesh: Gateway, video_id: str, body: bytes, life: Life) -> None:
    """Puts captions as a gateway does that lives so long."""
    base = mesh.backbone
    edits = Edits(
        objects=cast("ObjectStore", Mortal(base.objects, life)),
        videos=VideoStore(cast("Any", Mortal(base.database, life)), cast("Any", Mortal(base.bus, life))),
        slice_seconds=60,
        max_bytes=100_000,
        max_segments=1000,
        concurrency=1,
        idle_seconds=5,
    )

    async def blocks() -> AsyncIterator[bytes]:
        yield body

    before = asyncio.all_tasks()
    try:
        await edits.put(video_id, blocks(), "vtt")
    finally:
        edits.close()
        # What was on its way when it died arrives.
        for task in asyncio.all_tasks() - before:
            if "Mortal" in repr(task.get_coro()):
                await asyncio.wait({task})


def captions(*texts: str) -> bytes:
    """One cue in each of the two slices."""
    cues = (f"0{n}:01.000 --> 0{n}:03.000\n{text}\n" for n, text in enumerate(texts))
    return "\n".join(["WEBVTT\n", *cues]).encode()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_an_edit_killed_at_any_step_is_there_wholly_or_not_at_all(mesh: Gateway, embedder: None) -> None:
    former, wanted = ["Good morning.", "Now we bake."], ["Good evening.", "Now we eat."]
    videos, outcomes = mesh.backbone.videos, []
    for steps in range(100):
        video_id = await heard(mesh)
        await index(mesh, video_id)
        await put_and_die(mesh, video_id, captions(*former), Life(1000))
        await index(mesh, video_id)
        life = Life(steps)
        try:
            await put_and_die(mesh, video_id, captions(*wanted), life)
        except Killed:
            assert life.taken == steps
        else:
            break
        told = await transcript(mesh, video_id)
        texts = [segment["text"] for segment in told["segments"]]
        assert (texts, told["revision"]) in ((former, 1), (wanted, 2))
        # What it owed when it died is the sweeper's to publish, and nobody else's to know of.
        await videos.publish_owed(older_than_seconds=-1)
        await index(mesh, video_id)
        assert (await videos.get(video_id)).status is VideoStatus.READY
        assert [chunk.text for chunk in await videos.chunks(video_id)] == texts
        raw = await mesh.backbone.database["videos"].find_one({"_id": video_id})
        assert raw is not None
        assert raw["outbox"] == []
        outcomes.append(texts == wanted)
        # And it is no obstacle to who tries again.
        again = await mesh.http.put(f"/videos/{video_id}/transcript", content=captions(*wanted), headers=VTT)
        assert (again.status_code, again.json()["transcript_revision"]) == (202, 2)
        await index(mesh, video_id)
        assert [chunk.text for chunk in await videos.chunks(video_id)] == wanted
    assert len(outcomes) > 8
    assert outcomes == sorted(outcomes)  # up to one step it is not there, and from then on it is
    assert set(outcomes) == {False, True}
