"""Imports on a whole gateway, on real NATS, MongoDB protocol and object store."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from earmark.v1 import video_pb2
from earmark.v1 import video_service_pb2 as pb
from earmark.v1 import video_service_pb2_grpc as pb_grpc
from services.common.events import topology
from services.common.objects import transcript_key
from services.common.transcript import SliceTranscript
from services.common.videos.model import SliceState, VideoStatus
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

LIMIT = 200_000
JSON = {"Content-Type": "application/json; charset=utf-8"}


GATEWAY = {"import_max_bytes": LIMIT, "stalled_after_seconds": 3600}


def talk(**more: Any) -> dict[str, Any]:
    """An import of ten minutes, two people in turns."""
    lines = [
        {
            "start": n * 30.0,
            "end": n * 30.0 + 5.0,
            "text": f"This is line {n}.",
            "speaker": "Ann & Co" if n % 2 else "Bob",
        }
        for n in range(20)
    ]
    return {"title": "Talk", "language": "en", "segments": lines, **more}


async def imported(mesh: Gateway, **more: Any) -> dict[str, Any]:
    response = await mesh.http.post("/videos/import", json=talk(**more))
    assert response.status_code == 202, response.text
    video: dict[str, Any] = response.json()
    assert response.headers["location"] == video["links"]["self"]
    return video


async def kinds(mesh: Gateway) -> list[str]:
    bus = mesh.backbone.bus
    first, last = mesh.first_sequence, await bus.last_sequence()
    return [
        topology.kind_of((await bus.js.get_msg(topology.EVENTS, seq=n)).subject or "") for n in range(first, last + 1)
    ]


async def nothing_is_left(mesh: Gateway) -> None:
    assert await mesh.backbone.videos.page(limit=1) == []
    assert await mesh.backbone.objects.list("videos/") == []
    assert await mesh.backbone.bus.last_sequence() == mesh.first_sequence - 1


async def test_an_import_is_a_video_that_waits_to_be_embedded(mesh: Gateway) -> None:
    shown = await imported(mesh, url="https://example.org/talk", duration=601, collection="talks", tags=["bread"])
    assert (shown["status"], shown["duration"], shown["url"]) == ("processing", 601.0, "https://example.org/talk")
    assert shown["links"]["media"] is None
    assert shown["source"] == {"filename": None, "content_type": None, "bytes": None, "sha256": None}
    assert (shown["metadata"]["language"], shown["metadata"]["asr_model"]) == ("en", "imported")
    assert shown["metadata"]["speaker_count"] == 2
    assert shown["progress"]["slicing_done"]
    assert shown["progress"]["seconds_known"] == 601.0
    video = await mesh.backbone.videos.get(shown["video_id"])
    assert (video.collection, video.tags) == ("talks", ("bread",))
    assert [(part.start_time, part.end_time, part.state) for part in video.slices] == [
        (0.0, 300.0, SliceState.TRANSCRIBED),
        (300.0, 601.0, SliceState.TRANSCRIBED),
    ]
    key = transcript_key(video.video_id, "00001")
    stored = SliceTranscript.from_bytes(await mesh.backbone.objects.get(key))
    assert (stored.start, stored.end, stored.language, stored.asr_model) == (300.0, 601.0, "en", "imported")
    assert [(s.text, s.speaker) for s in stored.segments[:2]] == [
        ("This is line 10.", "Bob"),
        ("This is line 11.", "Ann & Co"),
    ]
    assert await kinds(mesh) == ["slice.transcribed"] * 2
    raw = await mesh.backbone.database["videos"].find_one({"_id": video.video_id})
    assert raw is not None
    assert raw["outbox"] == []


async def test_what_was_said_can_be_had_in_every_form_and_there_is_nothing_to_play(mesh: Gateway) -> None:
    links = (await imported(mesh))["links"]
    as_json = (await mesh.http.get(links["transcript"])).json()
    assert as_json["complete"]
    assert [segment["speaker"] for segment in as_json["segments"][:2]] == ["Bob", "Ann & Co"]
    vtt = (await mesh.http.get(links["transcript"], params={"format": "vtt"})).text
    assert "00:00:30.000 --> 00:00:35.000\n<v Ann &amp; Co>This is line 1." in vtt
    for form in ("srt", "txt"):
        assert "This is line 1." in (await mesh.http.get(links["transcript"], params={"format": form})).text
    answer = await mesh.http.get(links["self"] + "/media")
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (404, "NO_MEDIA")
    assert "no media" in answer.json()["error"]["message"]


async def test_importing_twice_under_one_name_makes_one_video(mesh: Gateway) -> None:
    first = await imported(mesh, external_id="talk 1")
    again = await mesh.http.post("/videos/import", json=talk(external_id="talk 1", title="Another title"))
    assert (again.status_code, again.json()["video_id"], again.json()["title"]) == (200, first["video_id"], "Talk")
    assert (await imported(mesh, external_id="talk 2"))["video_id"] != first["video_id"]
    assert (await imported(mesh))["video_id"] != (await imported(mesh))["video_id"]
    # Once it is deleted its name is free.
    await mesh.http.delete(first["links"]["self"])
    assert (await imported(mesh, external_id="talk 1"))["video_id"] != first["video_id"]


async def test_the_same_import_many_times_at_once_makes_one_video_and_leaves_nothing_else(mesh: Gateway) -> None:
    body = talk(external_id="talk")
    answers = await asyncio.gather(*(mesh.http.post("/videos/import", json=body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]
    (video_id,) = {answer.json()["video_id"] for answer in answers}
    assert len(await mesh.backbone.videos.page(limit=10)) == 1
    assert await mesh.backbone.objects.list("videos/") == [transcript_key(video_id, f"0000{n}") for n in (0, 1)]
    assert await kinds(mesh) == ["slice.transcribed"] * 2


async def test_hundreds_of_slices_are_announced(mesh: Gateway) -> None:
    lines = [{"start": n * 300.0, "end": n * 300.0 + 5, "text": "Five minutes."} for n in range(288)]
    video = await imported(mesh, segments=lines, duration=86_400)
    assert video["progress"]["slices_known"] == 288
    assert await kinds(mesh) == ["slice.transcribed"] * 288


async def test_a_failed_slice_of_an_import_is_embedded_again_and_never_heard(mesh: Gateway) -> None:
    video_id = (await imported(mesh))["video_id"]
    videos = mesh.backbone.videos
    await videos.fail_slice(video_id, "00001", stage="embed", reason="EMBEDDING_FAILED", message="it broke")
    await videos.slice_embedded(video_id, "00000", chunks=[], embedding_model="m")
    await videos.slice_indexed(video_id, "00000")
    assert (await videos.get(video_id)).status is VideoStatus.FAILED
    answer = await mesh.http.post(f"/videos/{video_id}/retry")
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert (await kinds(mesh))[-1] == "slice.transcribed"
    assert not {"video.uploaded", "slice.cut"} & set(await kinds(mesh))


async def test_an_import_is_deleted_like_any_video(mesh: Gateway) -> None:
    video_id = (await imported(mesh))["video_id"]
    await mesh.http.delete(f"/videos/{video_id}")

    async def gone() -> bool:
        return (await mesh.http.get(f"/videos/{video_id}")).status_code == 404

    await eventually(gone)
    assert await mesh.backbone.objects.list("videos/") == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"nonsense", 400, "body"),
        (b"", 400, "body"),
        (b'{"title": "x", "segments": [{"start": 5, "end": 3, "text": "x"}]}', 400, "segments[0].end"),
        (b'{"title": "x", "segments": []}', 400, "segments"),
        (b" " * (LIMIT + 1), 413, "body"),
    ],
)
async def test_a_wrong_import_is_refused_and_leaves_nothing(
    mesh: Gateway, body: bytes, status: int, field: str
) -> None:
    response = await mesh.http.post("/videos/import", content=body, headers=JSON)
    assert response.status_code == status, response.text
    assert response.json()["error"]["details"][1]["field"] == field
    await nothing_is_left(mesh)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_a_page_of_another_site_could_send_is_refused(mesh: Gateway, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = await mesh.http.post("/videos/import", content=json.dumps(talk()).encode(), headers=headers)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["details"][1]["field"] == "content-type"
    await nothing_is_left(mesh)


async def test_a_body_over_the_limit_without_announced_size_is_refused(mesh: Gateway) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 10_000

    try:
        response = await mesh.http.post("/videos/import", content=body(), headers=JSON)
    except httpx.WriteError:  # the answer came while the client still wrote; what counts is what is left
        pass
    else:
        assert (response.status_code, response.json()["error"]["details"][0]["reason"]) == (413, "IMPORT_TOO_LARGE")
    await nothing_is_left(mesh)


async def test_an_import_by_grpc(mesh: Gateway) -> None:
    stub = pb_grpc.VideoServiceStub(mesh.channel)
    request = pb.ImportVideoRequest(
        video=pb.NewVideo(filename="How bread rises.vtt", uri="https://example.org/v", collection="talks", tags=["a"]),
        language="en",
        duration=Duration(seconds=90, nanos=500_000_000),
        segments=[
            pb.TranscriptSegment(
                start_offset=Duration(nanos=250_000_000), end_offset=Duration(seconds=2), text="Yeast.", speaker="Ann"
            )
        ],
        external_id="bread",
    )
    made = await stub.ImportVideo(request)
    assert (made.video.title, made.video.state, made.already_there) == (
        "How bread rises",
        video_pb2.VIDEO_STATE_PROCESSING,
        False,
    )
    video = await mesh.backbone.videos.get(made.video.video_id)
    assert (video.duration, video.url, video.collection) == (90.5, "https://example.org/v", "talks")
    stored = await mesh.backbone.objects.get(transcript_key(video.video_id, "00000"))
    assert SliceTranscript.from_bytes(stored).segments[0].start == 0.25
    again = await stub.ImportVideo(request)
    assert (again.video.video_id, again.already_there) == (video.video_id, True)

    request.segments[0].end_offset.seconds = -5
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ImportVideo(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "segments[0] ends at -5 s" in (refused.value.details() or "")
