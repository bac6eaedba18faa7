"""The HTTP API of a whole gateway on real NATS, MongoDB protocol and object store."""

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.common.errors import Unavailable
from services.common.objects import media_key, slice_audio_key, transcript_key
from services.common.transcript import Segment, SliceTranscript, Word
from services.common.videos.model import VideoStatus, VideoWarning
from tests.support.gateway import Gateway, error_of
from tests.support.gateway_peers import chunk, video_of_slot
from tests.support.waiting import eventually

UNKNOWN = f"vid_{'0' * 26}"
LIMIT = 3 * 1024 * 1024


GATEWAY = {"max_upload_bytes": LIMIT}


async def make_ready(mesh: Gateway, video_id: str, *texts: str) -> None:
    """Does what the other services would do, up to `ready`."""
    videos, objects = mesh.backbone.videos, mesh.backbone.objects
    await videos.begin_processing(video_id)
    for number, text in enumerate(texts):
        slice_id, start = f"{number:05d}", number * 10.0
        await objects.put(slice_audio_key(video_id, slice_id), b"audio")
        await videos.add_slice(video_id, slice_id, start_time=start, end_time=start + 10)
        segment = Segment(start, start + 5, f" {text}", [Word(start, start + 5, f" {text}", 0.9)])
        transcript = SliceTranscript(video_id, slice_id, start, start + 10, "en", 0.9, "base", [segment])
        await objects.put(transcript_key(video_id, slice_id), transcript.to_bytes())
        await videos.slice_transcribed(video_id, slice_id, language="en", asr_model="base")
        await videos.slice_embedded(video_id, slice_id, chunks=[], embedding_model="m")
        await videos.slice_indexed(video_id, slice_id)
    await videos.finish_slicing(video_id, duration=len(texts) * 10.0)


# ── uploads ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("title_first", [True, False])
async def test_an_upload_is_stored_and_announced(mesh: Gateway, title_first: bool) -> None:
    data = bytes(range(256)) * 6000
    parts: list[tuple[str, Any]] = [("title", (None, "Über Brot")), ("file", ("brot & salz.mp4", data, "video/mp4"))]
    response = await mesh.http.post("/videos/upload", files=parts if title_first else parts[::-1])
    assert response.status_code == 202, response.text
    video = response.json()
    assert response.headers["location"] == video["links"]["self"] == f"/v1/videos/{video['video_id']}"
    assert (video["title"], video["status"], video["url"], video["error"]) == ("Über Brot", "uploaded", None, None)
    assert video["source"] == {
        "filename": "brot & salz.mp4",
        "content_type": "video/mp4",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert video["metadata"]["uploaded_at"].endswith("Z")
    assert video["progress"]["fraction"] is None
    assert await mesh.backbone.objects.get(media_key(video["video_id"])) == data
    assert (await mesh.backbone.bus.backlog())["slicer"] == 1


async def test_curl_can_upload(mesh: Gateway, tmp_path: Any) -> None:
    path = tmp_path / "a talk.mp4"
    path.write_bytes(b"media" * 300_000)
    url = f"{mesh.http.base_url}/videos/upload"
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-F", "title=By curl", "-F", f"file=@{path}", url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    video = json.loads(output)
    assert (video["title"], video["source"]["bytes"]) == ("By curl", 1_500_000)
    assert video["source"]["content_type"] == "video/mp4"


@pytest.mark.parametrize(
    ("files", "reason", "message"),
    [
        ({"file": ("empty.mp4", b"", "video/mp4")}, "MEDIA_EMPTY", "empty"),
        ({"title": (None, "no file")}, "INVALID_ARGUMENT", "no part named file"),
        ({"File": ("a.mp4", b"x", "video/mp4")}, "INVALID_ARGUMENT", "no field 'File'; there are file"),
        ([("file", ("a", b"x", "a/b")), ("file", ("b", b"y", "a/b"))], "INVALID_ARGUMENT", "several files"),
        ({"title": (None, "x" * 20_000), "file": ("a", b"x", "a/b")}, "INVALID_ARGUMENT", "title"),
    ],
)
async def test_a_wrong_form_is_refused_and_leaves_nothing(mesh: Gateway, files: Any, reason: str, message: str) -> None:
    error = error_of(await mesh.http.post("/videos/upload", files=files), 400, "INVALID_ARGUMENT", reason)
    assert message in error["message"]
    assert error["details"][1]["field"] in {"file", "File", "title"}
    await nothing_is_left(mesh)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"{}", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"rubbish", 400),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
            400,
        ),
    ],
)
async def test_a_body_that_is_no_form_is_refused(mesh: Gateway, content_type: str, body: bytes, code: int) -> None:
    response = await mesh.http.post("/videos/upload", content=body, headers={"Content-Type": content_type})
    assert response.status_code == code
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"
    await nothing_is_left(mesh)


async def test_an_announced_size_over_the_limit_is_refused_before_the_bytes(mesh: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.settings.http_port)
    writer.write(
        b"POST /videos/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 999999999999\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)  # not one byte of the body was sent
    assert b" 413 " in head
    writer.close()


async def test_a_body_over_the_limit_without_announced_size_is_refused(mesh: Gateway) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        for _ in range(8):
            yield b"x" * (LIMIT // 4)
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        response = await mesh.http.post("/videos/upload", content=body(), headers=headers)
    except httpx.WriteError:  # the answer came while the client still wrote; what counts is what is left
        pass
    else:
        error_of(response, 413, "INVALID_ARGUMENT", "MEDIA_TOO_LARGE")
    await nothing_is_left(mesh)


async def test_an_upload_that_breaks_off_leaves_nothing_behind(mesh: Gateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", mesh.settings.http_port)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    writer.write(
        b"POST /videos/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 2000000\r\n\r\n" + head + b"x" * 1_200_000
    )
    await writer.drain()
    objects = mesh.backbone.objects
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.close()
    assert (await mesh.http.get("/healthz")).status_code == 200

    async def nothing() -> bool:
        return await objects.list("videos/") == [] and not files_in(mesh)

    await eventually(nothing)
    await nothing_is_left(mesh)


def files_in(mesh: Gateway) -> list[str]:
    from pathlib import Path
    from urllib.parse import urlsplit

    root = Path(urlsplit(mesh.settings.object_store_url).path)
    return [str(path) for path in root.rglob("*") if path.is_file()]


async def nothing_is_left(mesh: Gateway) -> None:
    assert await mesh.backbone.videos.page(limit=10) == []
    assert await mesh.backbone.objects.list("videos/") == []
    assert files_in(mesh) == []


async def test_adding_by_url(mesh: Gateway) -> None:
    response = await mesh.http.post("/videos", json={"url": "https://1.1.1.1/talk.mp4"})
    assert response.status_code == 202, response.text
    video = response.json()
    assert (video["title"], video["url"]) == ("talk", "https://1.1.1.1/talk.mp4")
    assert video["source"] == {"filename": None, "content_type": None, "bytes": None, "sha256": None}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"url": "http://127.0.0.1:1/a.mp4"}, "FAILED_PRECONDITION", "url"),
        ({"url": "http://[::1]/a.mp4"}, "FAILED_PRECONDITION", "url"),
        ({"url": "http://169.254.169.254/latest"}, "FAILED_PRECONDITION", "url"),
        ({"url": "file:///etc/passwd"}, "INVALID_ARGUMENT", "url"),
        ({"url": ""}, "INVALID_ARGUMENT", "url"),
        ({"url": 3}, "INVALID_ARGUMENT", "url"),
        ({}, "INVALID_ARGUMENT", "url"),
        ([], "INVALID_ARGUMENT", "body"),
    ],
)
async def test_a_url_that_may_not_be_fetched_is_refused(mesh: Gateway, body: Any, status: str, field: str) -> None:
    response = await mesh.http.post("/videos", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["status"], error["details"][1]["field"]) == (status, field)
    assert await mesh.backbone.videos.page(limit=1) == []


# ── videos ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_video_is_followed_to_its_end(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    seen: list[dict[str, Any]] = []
    ended = False
    async with mesh.http.stream("GET", f"/videos/{video_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        work = asyncio.create_task(make_ready(mesh, video_id, "one", "two", "three"))
        event = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == "status":
                seen.append(json.loads(line.removeprefix("data: ")))
            ended = ended or event == "end"
        await work
    assert ended
    assert (seen[0]["status"], seen[-1]["status"]) == ("uploaded", "ready")
    revisions = [state["revision"] for state in seen]
    assert revisions == sorted(set(revisions))
    assert seen[-1] == (await mesh.http.get(f"/videos/{video_id}/status")).json()
    assert [part["state"] for part in seen[-1]["slices"]] == ["indexed"] * 3
    assert seen[-1]["progress"]["fraction"] == 1
    assert seen[-1]["duration"] == 30


async def test_a_change_is_told_soon_even_when_no_event_says_it(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    async with mesh.http.stream("GET", f"/videos/{video_id}/events") as stream:
        lines = stream.aiter_lines()
        async for line in lines:
            if '"uploaded"' in line:
                break
        await mesh.backbone.videos.begin_processing(video_id)  # owes no event
        async with asyncio.timeout(5):
            async for line in lines:
                if '"processing"' in line:
                    return
    pytest.fail("the stream ended before it told the change")


async def test_lists_go_on_by_cursor(mesh: Gateway) -> None:
    ids = [(await mesh.upload(name=f"{n}.mp4"))["video_id"] for n in range(5)]
    got, cursor = [], ""
    for _ in range(3):
        page = (await mesh.http.get("/videos", params={"limit": 2, "cursor": cursor})).json()
        got += [video["video_id"] for video in page["videos"]]
        cursor = page["next_cursor"]
    assert got == ids[::-1]
    assert cursor is None
    await make_ready(mesh, ids[2], "text")
    ready = (await mesh.http.get("/videos", params={"status": "ready"})).json()
    assert [video["video_id"] for video in ready["videos"]] == [ids[2]]
    first = (await mesh.http.get("/videos", params={"limit": 1})).json()
    other = await mesh.http.get("/videos", params={"cursor": first["next_cursor"], "status": "ready"})
    assert "another filter" in error_of(other, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")["message"]


async def test_transcripts_in_every_form(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    empty = (await mesh.http.get(f"/videos/{video_id}/transcript")).json()
    assert (empty["segments"], empty["complete"]) == ([], False)
    await make_ready(mesh, video_id, "The yeast eats.", "Bread rises.")
    path = f"/videos/{video_id}/transcript"
    full = (await mesh.http.get(path)).json()
    assert (full["complete"], full["language"]) == (True, "en")
    assert [segment["text"] for segment in full["segments"]] == [" The yeast eats.", " Bread rises."]
    assert full["segments"][1]["words"] == [{"start": 10.0, "end": 15.0, "text": " Bread rises.", "probability": 0.9}]
    vtt = await mesh.http.get(path, params={"format": "vtt"})
    assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"
    assert "00:00:10.000 --> 00:00:15.000\nBread rises.\n" in vtt.text
    srt = await mesh.http.get(path, params={"format": "srt"})
    assert srt.text.startswith("1\n00:00:00,000 --> 00:00:05,000\nThe yeast eats.\n")
    txt = await mesh.http.get(path, params={"format": "txt"})
    assert txt.text == "The yeast eats.\n\nBread rises.\n"
    wrong = error_of(await mesh.http.get(path, params={"format": "doc"}), 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "json, vtt, srt, txt" in wrong["message"]


async def test_deleting_removes_everything(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    await make_ready(mesh, video_id, "text")
    other = (await mesh.upload(b"stays"))["video_id"]
    response = await mesh.http.delete(f"/videos/{video_id}")
    assert (response.status_code, response.json()["status"]) == (202, "deleting")

    async def gone() -> bool:
        return (await mesh.http.get(f"/videos/{video_id}")).status_code == 404

    await eventually(gone)
    assert await mesh.backbone.objects.list("videos/") == [media_key(other)]
    for method, path in [
        ("GET", "/media"),
        ("GET", "/transcript"),
        ("GET", "/events"),
        ("DELETE", ""),
        ("POST", "/retry"),
    ]:
        response = await mesh.http.request(method, f"/videos/{video_id}{path}")
        error_of(response, 404, "NOT_FOUND", "VIDEO_NOT_FOUND")


async def test_retrying_does_what_failed_and_only_failed_videos_can_be(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    refused = await mesh.http.post(f"/videos/{video_id}/retry")
    error_of(refused, 400, "FAILED_PRECONDITION", "NOT_FAILED")
    await mesh.backbone.videos.fail(video_id, stage="slice", reason="MEDIA_UNREADABLE", message="no audio")
    failed = (await mesh.http.get(f"/videos/{video_id}")).json()
    assert (failed["status"], failed["error"]["reason"], failed["error"]["stage"]) == (
        "failed",
        "MEDIA_UNREADABLE",
        "slice",
    )
    again = await mesh.http.post(f"/videos/{video_id}/retry")
    assert (again.status_code, again.json()["status"], again.json()["error"]) == (202, "uploaded", None)


async def test_a_silent_video_is_ready_and_says_so(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    await mesh.backbone.videos.begin_processing(video_id)
    warning = VideoWarning("NO_SPEECH", "nobody speaks")
    await mesh.backbone.videos.finish_slicing(video_id, duration=9.0, warnings=[warning])
    video = (await mesh.http.get(f"/videos/{video_id}")).json()
    assert (video["status"], video["progress"]["fraction"]) == ("ready", 1)
    assert video["warnings"] == [{"reason": "NO_SPEECH", "message": "nobody speaks"}]


# ── media ────────────────────────────────────────────────────────────────────────────────────────


async def test_media_comes_in_ranges(mesh: Gateway) -> None:
    data = bytes(range(256)) * 4000
    video = await mesh.upload(data, "Über & co.mp4")
    path = video["links"]["media"]
    whole = await mesh.http.get(path)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-disposition"] == "inline; filename*=UTF-8''%C3%9Cber%20%26%20co.mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    etag = whole.headers["etag"]
    for asked, start, end in [
        ("bytes=0-99", 0, 100),
        ("bytes=-5", len(data) - 5, len(data)),
        ("bytes=1000-", 1000, len(data)),
    ]:
        part = await mesh.http.get(path, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
        assert part.headers["content-length"] == str(end - start)
    beyond = await mesh.http.get(path, headers={"Range": f"bytes={len(data)}-"})
    error_of(beyond, 416, "OUT_OF_RANGE", "RANGE_NOT_SATISFIABLE")
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    fresh = await mesh.http.get(path, headers={"Range": "bytes=0-9", "If-Range": etag})
    stale = await mesh.http.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (fresh.status_code, stale.status_code, len(stale.content)) == (206, 200, len(data))
    assert (await mesh.http.get(path, headers={"If-None-Match": etag})).status_code == 304
    head = await mesh.http.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/javascript", "text/html; charset=utf-8"])
async def test_media_is_never_something_a_browser_runs(mesh: Gateway, kind: str) -> None:
    video = await mesh.upload(b"<script>alert(1)</script>", "page.html", kind)
    response = await mesh.http.get(video["links"]["media"])
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox"


async def test_media_still_to_be_fetched_is_not_found(mesh: Gateway) -> None:
    video = (await mesh.http.post("/videos", json={"url": "https://1.1.1.1/talk.mp4"})).json()
    error_of(await mesh.http.get(video["links"]["media"]), 404, "NOT_FOUND", "MEDIA_NOT_STORED")


# ── search ───────────────────────────────────────────────────────────────────────────────────────


def fill(mesh: Gateway) -> tuple[str, str]:
    first, second = video_of_slot(range(128)), video_of_slot(range(128, 256))
    text = "Welcome. The yeast eats sugar. That makes bread rise."
    mesh.index(
        chunk(first, 0, text, 30.0, 60.0, [(0, 30.0), (9, 31.5), (31, 35.25)], title="Bread"),
        chunk(second, 0, "bread with butter", title="Breakfast"),
    )
    return first, second


async def test_a_search_finds_the_moment(mesh: Gateway) -> None:
    first, second = fill(mesh)
    answer = (await mesh.http.get("/search", params={"q": "why does bread rise"})).json()
    assert set(answer) == {"query", "mode", "hits", "next_cursor", "coverage", "timing"}
    assert [hit["video_id"] for hit in answer["hits"]] == [first, second]
    hit = answer["hits"][0]
    assert (hit["title"], hit["start_time"], hit["end_time"], hit["match_time"]) == ("Bread", 30.0, 60.0, 35.25)
    assert [hit["text"][mark["start"] : mark["end"]] for mark in hit["highlights"]] == ["bread", "rise"]
    assert hit["sentence"] == {"start": 31, "end": 53}
    assert hit["links"]["page"] == f"/v/{first}?t=35"
    assert hit["scores"]["semantic"]["rank"] == hit["scores"]["keyword"]["rank"] == 1
    assert hit["more"] == []
    assert answer["coverage"] == {
        "shards_total": 2,
        "shards_answered": 2,
        "complete": True,
        "legs": ["semantic", "keyword"],
        "embedding_model": "hash-words@1",
        "missing": [],
        "replicas": [
            {"shard": 0, "replica": 0, "applied_sequence": 0, "lag": 0},
            {"shard": 1, "replica": 0, "applied_sequence": 0, "lag": 0},
        ],
        "tokens_reached": True,
    }
    timing = answer["timing"]
    assert timing["total_ms"] >= timing["embed_ms"] > 0
    assert answer["next_cursor"] is None
    only = (await mesh.http.get("/search", params={"q": "bread", "video_id": second, "limit": "999"})).json()
    assert [hit["video_id"] for hit in only["hits"]] == [second]
    paged = (await mesh.http.get("/search", params={"q": "bread", "limit": 1})).json()
    rest = (await mesh.http.get("/search", params={"q": "bread", "limit": 1, "cursor": paged["next_cursor"]})).json()
    assert {paged["hits"][0]["video_id"], rest["hits"][0]["video_id"]} == {first, second}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "q"),
        ({"q": ""}, "q"),
        ({"q": "   "}, "q"),
        ({"q": "x" * 1001}, "q"),
        ({"q": "x" * 10_000}, "q"),
        ({"q": "x", "mode": "magic"}, "mode"),
        ({"q": "x", "limit": "many"}, "limit"),
        ({"q": "x", "cursor": "nonsense"}, "cursor"),
        ({"q": "x", "language": "klingon"}, "language"),
        ({"q": "x", "video_id": "1"}, "video_id"),
        ({"q": "x", "bogus": "1"}, "bogus"),
        ({"q": "x", "collections": "c1"}, "collections"),
    ],
)
async def test_a_wrong_search_is_refused_with_its_field(mesh: Gateway, params: dict[str, str], field: str) -> None:
    error = error_of(await mesh.http.get("/search", params=params), 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert error["details"][1]["field"] == field


@pytest.mark.parametrize(
    "q", ["🙂🙂", "the of and", '"unbalanced quote', '"', "a" * 1000, "\\", "%00", "';--", "日本語"]
)
async def test_an_odd_search_is_answered(mesh: Gateway, q: str) -> None:
    fill(mesh)
    assert (await mesh.http.get("/search", params={"q": q})).status_code == 200
    raw = await mesh.http.get("/search?q=%FF%FE")
    assert raw.status_code == 200


async def test_a_partial_answer_says_so(own_mesh: Gateway) -> None:
    first, _ = fill(own_mesh)
    own_mesh.shards[1].behaviour.delay_seconds = 30
    answer = (await own_mesh.http.get("/search", params={"q": "bread"})).json()
    assert [hit["video_id"] for hit in answer["hits"]] == [first]
    assert answer["coverage"]["complete"] is False
    assert answer["coverage"]["missing"] == [{"shard": 1, "reason": "DEADLINE_EXCEEDED"}]


async def test_without_the_embedder_words_still_find(own_mesh: Gateway) -> None:
    fill(own_mesh)
    own_mesh.embedder.behaviour.error = Unavailable("loading")
    answer = (await own_mesh.http.get("/search", params={"q": "bread"})).json()
    assert len(answer["hits"]) == 2
    assert (answer["coverage"]["legs"], answer["coverage"]["complete"]) == (["keyword"], False)
    refused = await own_mesh.http.get("/search", params={"q": "bread", "mode": "semantic"})
    error_of(refused, 503, "UNAVAILABLE", "EMBEDDER_UNAVAILABLE")
    assert refused.headers["retry-after"] == "1"


async def test_without_any_shard_a_search_is_an_error(mesh: Gateway) -> None:
    for fake in mesh.shards:
        fake.ready = False

    error_of(await mesh.http.get("/search", params={"q": "bread"}), 503, "UNAVAILABLE", "NO_SHARD_ANSWERED")

    async def told() -> httpx.Response | None:
        response = await mesh.http.get("/readyz")
        return response if response.status_code == 503 else None

    ready = await eventually(told)
    checks = ready.json()["checks"]
    assert checks["mongo"]["ready"]
    assert checks["shard 0"] == {"ready": False, "detail": "0 of 1 replicas"}


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("video_id", [UNKNOWN, "x", "vid_..%2F..", "%3E", "*", "vid_" + "é" * 26])
@pytest.mark.parametrize("path", ["", "/status", "/events", "/transcript", "/media"])
async def test_an_unknown_video_is_not_found(mesh: Gateway, video_id: str, path: str) -> None:
    response = await mesh.http.get(f"/videos/{video_id}{path}")
    assert response.status_code == 404
    assert response.json()["error"]["status"] == "NOT_FOUND"


async def test_health_docs_and_metrics_are_served_from_here(mesh: Gateway) -> None:
    assert (await mesh.http.get("/healthz")).json() == {"status": "ok"}
    ready = (await mesh.http.get("/readyz")).json()
    assert ready["ready"]
    assert set(ready["checks"]) == {"mongo", "nats", "embedder", "shard 0", "shard 1"}
    await mesh.http.get("/search", params={"q": "x"})
    metrics = (await mesh.http.get("/metrics")).text
    assert 'earmark_gateway_http_request_seconds_count{code="200",method="GET",route="/search"}' in metrics
    docs = (await mesh.http.get("/docs")).text
    assert "http" not in docs.replace("http-equiv", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert (await mesh.http.get(f"/docs/assets/{asset}")).status_code == 200
    schema = (await mesh.http.get("/openapi.json")).json()
    assert set(schema["paths"]) >= {"/v1/search", "/v1/videos", "/v1/videos/upload", "/v1/videos/{video_id}/status"}
    unversioned = {path for path in schema["paths"] if not path.startswith("/v1/")}
    assert unversioned == {"/healthz", "/readyz", "/metrics"}


async def test_the_page_is_served_at_its_paths_with_safe_headers(mesh: Gateway) -> None:
    root = await mesh.http.get("/")
    for path in ("/library", "/ops", f"/v/{UNKNOWN}?t=83"):
        other = await mesh.http.get(path)
        assert (other.status_code, other.text) == (200, root.text), path
    assert root.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in root.headers["content-security-policy"]
    assert root.headers["cache-control"] == "no-cache"
    for path in ("/", "/library", "/openapi.json"):
        tag = (await mesh.http.get(path)).headers["etag"]
        again = await mesh.http.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b""), path


async def test_an_unforeseen_error_tells_an_id_and_nothing_else(mesh: Gateway) -> None:
    video = await mesh.upload()
    key = transcript_key(video["video_id"], "00000")
    await mesh.backbone.videos.begin_processing(video["video_id"])
    await mesh.backbone.videos.add_slice(video["video_id"], "00000", start_time=0, end_time=1)
    await mesh.backbone.videos.slice_transcribed(video["video_id"], "00000", language="en", asr_model="m")
    await mesh.backbone.objects.put(key, b'{"format_version": 99}')
    error = error_of(await mesh.http.get(video["links"]["transcript"]), 500, "INTERNAL", "INTERNAL")
    assert error["details"][0]["metadata"]["error_id"] in error["message"]
    assert "format" not in error["message"]


async def test_stopping_ends_streams_without_saying_they_ended(own_mesh: Gateway) -> None:
    video_id = (await own_mesh.upload())["video_id"]
    lines: list[str] = []
    async with own_mesh.http.stream("GET", f"/videos/{video_id}/events") as stream:
        async for line in stream.aiter_lines():
            lines.append(line)
            if line.startswith("data: "):
                own_mesh.stop.set()
    assert not any("event: end" in line for line in lines)
    assert (await own_mesh.backbone.videos.get(video_id)).status is VideoStatus.UPLOADED
