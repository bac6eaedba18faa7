"""Resumable uploads over HTTP: cut, gone on with, compared, given up; with a folder and with S3 beneath."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.common.objects import media_key
from services.common.settings import CommonSettings
from tests.support import s3
from tests.support.gateway import Gateway, gateway
from tests.support.keys import ADMIN_KEY, KEYS, bearer, make_key
from tests.support.mesh import common_settings
from tests.support.ports import free_port
from tests.support.waiting import eventually

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
DATA = os.urandom(19 * 2**20)
SETTINGS: dict[str, Any] = {"upload_idle_seconds": 5, "sweep_every_seconds": 0.3}


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3.s3_server() as url:
        yield url


@pytest.fixture(scope="module", params=["folder", "s3"])
async def lasting_gateway(request: pytest.FixtureRequest, lasting_settings: CommonSettings) -> AsyncIterator[Gateway]:
    settings = lasting_settings
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "s3":
            endpoint = request.getfixturevalue("s3_endpoint")
            for name, value in s3.environment(endpoint).items():
                patch.setenv(name, value)
            url = f"s3://{s3.make_bucket(endpoint, 'tus')}/media"
            settings = lasting_settings.model_copy(update={"object_store_url": url})
        async with gateway(settings, **SETTINGS) as running:
            yield running


def said(**values: str) -> dict[str, str]:
    pairs = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())
    return {"Upload-Metadata": pairs}


async def begin(mesh: Gateway, size: int, headers: dict[str, str] | None = None, **values: str) -> str:
    answer = await mesh.http.post(
        "/v1/files", headers={**TUS, "Upload-Length": str(size), **said(**values), **(headers or {})}
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert "upload-expires" in answer.headers
    return answer.headers["location"]


async def send(
    mesh: Gateway, path: str, offset: int, data: bytes | AsyncIterator[bytes], **headers: str
) -> httpx.Response:
    return await mesh.http.patch(path, content=data, headers={**BYTES, "Upload-Offset": str(offset), **headers})


async def offset_of(mesh: Gateway, path: str) -> int:
    answer = await mesh.http.head(path, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["details"][0]["reason"]


async def stored(mesh: Gateway, video_id: str) -> bytes:
    return await mesh.backbone.objects.get(media_key(video_id))


async def test_bytes_in_pieces_of_any_size_become_a_video(mesh: Gateway) -> None:
    path = await begin(mesh, len(DATA), filename="talk.mp4", title="A talk", tags="bread,baking")
    at, answer = 0, None
    for size in (1, 70_000, 9 * 2**20, 0, 3 * 2**20 + 7, len(DATA)):
        answer = await send(mesh, path, at, DATA[at : at + size])
        assert answer.status_code == 204, answer.text
        at = min(at + size, len(DATA))
        assert int(answer.headers["upload-offset"]) == at == await offset_of(mesh, path)
    assert answer is not None
    video_id = answer.headers["earmark-video-id"]
    assert (await mesh.http.head(path, headers=TUS)).headers["earmark-video-id"] == video_id
    video = (await mesh.http.get(f"/v1/videos/{video_id}")).json()
    assert (video["title"], video["tags"], video["status"]) == ("A talk", ["bread", "baking"], "uploaded")
    assert video["source"] == {
        "filename": "talk.mp4",
        "content_type": "video/mp4",
        "bytes": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    assert await stored(mesh, video_id) == DATA
    assert await mesh.backbone.objects.list("uploads/") == []


async def test_a_connection_that_breaks_costs_nothing(mesh: Gateway) -> None:
    path = await begin(mesh, len(DATA))
    most = len(DATA) * 9 // 10

    async def breaking() -> AsyncIterator[bytes]:
        for at in range(0, most, 65_536):
            yield DATA[at : min(most, at + 65_536)]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await send(mesh, path, 0, breaking(), **{"Content-Length": str(len(DATA))})

    # As tus clients do: at a conflict they ask again, since the broken request may still be at writing what came.
    offsets, answer = [], None
    while answer is None or answer.status_code == 409:
        offsets.append(await offset_of(mesh, path))
        answer = await send(mesh, path, offsets[-1], DATA[offsets[-1] :])
    assert answer.status_code == 204, answer.text
    assert offsets[-1] > most // 2  # a request that is broken off takes with it what its connection had buffered
    assert await stored(mesh, answer.headers["earmark-video-id"]) == DATA


async def test_a_newer_request_ends_one_that_hangs(mesh: Gateway) -> None:
    path = await begin(mesh, 1000)
    sent = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield DATA[:400]
        sent.set()
        await asyncio.sleep(3600)

    first = asyncio.create_task(send(mesh, path, 0, hanging(), **{"Content-Length": "1000"}))
    await sent.wait()
    second = await send(mesh, path, 0, DATA[:1000])
    # What the first had sent counts, so the second is told where to go on; or the first had not begun to write yet, or
    # came in, on its other connection, after the second.
    if second.status_code != 204:
        assert reason_of(second) in {(409, "OFFSET_CONFLICT"), (423, "UPLOAD_LOCKED"), (409, "LEASE_LOST")}

        async def gone_on() -> bool:
            at = await offset_of(mesh, path)
            return (await send(mesh, path, at, DATA[at:1000])).status_code == 204

        await eventually(gone_on, 15, message="the upload goes on")
    assert await offset_of(mesh, path) == 1000
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_part_that_is_not_what_was_sent_does_not_count(mesh: Gateway) -> None:
    path = await begin(mesh, 100)
    right = base64.b64encode(hashlib.sha1(DATA[:50]).digest()).decode()
    assert (await send(mesh, path, 0, DATA[:50], **{"Upload-Checksum": f"sha1 {right}"})).status_code == 204
    wrong = await send(mesh, path, 50, DATA[50:100], **{"Upload-Checksum": f"sha1 {right}"})
    assert reason_of(wrong) == (460, "PART_CHECKSUM_MISMATCH")
    assert wrong.headers["tus-resumable"] == "1.0.0"
    assert await offset_of(mesh, path) == 50
    unknown = await send(mesh, path, 50, DATA[50:100], **{"Upload-Checksum": f"crc {right}"})
    assert unknown.status_code == 400
    done = await send(mesh, path, 50, DATA[50:100])
    assert await stored(mesh, done.headers["earmark-video-id"]) == DATA[:100]


async def test_a_whole_that_is_not_what_was_sent_is_no_video(mesh: Gateway) -> None:
    path = await begin(mesh, 100, sha256=hashlib.sha256(DATA[:100]).hexdigest())
    assert reason_of(await send(mesh, path, 0, DATA[1:101])) == (422, "CHECKSUM_MISMATCH")
    assert (await mesh.http.head(path, headers=TUS)).status_code == 410
    assert (await mesh.http.get("/v1/videos")).json()["videos"] == []
    assert await mesh.backbone.objects.list("") == []


async def test_the_protocol_is_kept(mesh: Gateway) -> None:
    can = await mesh.http.options("/v1/files")
    assert can.status_code == 204
    assert can.headers["tus-version"] == "1.0.0"
    assert set(can.headers["tus-extension"].split(",")) >= {"creation", "termination", "checksum", "expiration"}
    assert int(can.headers["tus-max-size"]) == mesh.settings.max_upload_bytes
    post, length = mesh.http.post, {"Upload-Length": "10"}
    refused = await post("/v1/files", headers={"Tus-Resumable": "0.2.2", **length})
    assert reason_of(refused) == (412, "TUS_VERSION")
    assert refused.headers["tus-version"] == "1.0.0"
    assert (await post("/v1/files", headers=TUS)).status_code == 400
    assert (await post("/v1/files", headers={**TUS, **length, "Upload-Defer-Length": "1"})).status_code == 400
    assert (await post("/v1/files", headers={**TUS, "Upload-Length": "0"})).status_code == 400
    assert (await post("/v1/files", headers={**TUS, "Upload-Length": str(2**40)})).status_code == 413
    assert (await mesh.http.head("/v1/files/upl_x", headers=TUS)).status_code == 404

    path = await begin(mesh, 10)
    assert (await mesh.http.patch(path, content=b"x", headers={**TUS, "Upload-Offset": "0"})).status_code == 415
    assert (await mesh.http.patch(path, content=b"x", headers=BYTES)).status_code == 400
    assert reason_of(await send(mesh, path, 3, b"x")) == (409, "OFFSET_CONFLICT")
    assert (await send(mesh, path, 0, b"x" * 11)).status_code == 400
    overridden = {"X-HTTP-Method-Override": "PATCH", **BYTES, "Upload-Offset": str(await offset_of(mesh, path))}
    at = await offset_of(mesh, path)
    assert (await post(path, content=b"y" * (9 - at), headers=overridden)).status_code == 204
    assert (await mesh.http.delete(path, headers=TUS)).status_code == 204
    assert (await mesh.http.head(path, headers=TUS)).status_code == 404
    assert await mesh.backbone.objects.list("") == []


async def test_bytes_with_the_first_request_and_a_length_with_the_last(mesh: Gateway) -> None:
    whole = await mesh.http.post(
        "/v1/files", content=DATA[:100], headers={**BYTES, "Upload-Length": "100", **said(filename="a.mp4")}
    )
    assert (whole.status_code, whole.headers["upload-offset"]) == (201, "100")
    assert await stored(mesh, whole.headers["earmark-video-id"]) == DATA[:100]

    path = await begin(mesh, 0, {"Upload-Length": "", "Upload-Defer-Length": "1"})
    assert (await mesh.http.head(path, headers=TUS)).headers["upload-defer-length"] == "1"
    assert (await send(mesh, path, 0, DATA[100:150])).status_code == 204
    last = await send(mesh, path, 50, DATA[150:160], **{"Upload-Length": "60"})
    assert await stored(mesh, last.headers["earmark-video-id"]) == DATA[100:160]


async def test_known_bytes_are_answered_with_the_video_there_is(mesh: Gateway) -> None:
    first = await mesh.upload(DATA[:1000])
    for values, existing in (({}, "true"), ({"duplicate": "allow"}, None), ({"collection": "other"}, None)):
        path = await begin(mesh, 1000, **values)
        answer = await send(mesh, path, 0, DATA[:1000])
        assert answer.headers.get("earmark-existing") == existing, values
        assert (answer.headers["earmark-video-id"] == first["video_id"]) == (existing == "true")
    kept = [key for key in await mesh.backbone.objects.list("videos/") if key.endswith("/media")]
    assert len(kept) == 3


async def test_the_same_creation_twice_is_one_upload(mesh: Gateway) -> None:
    key = {"Idempotency-Key": "talk 17"}
    path = await begin(mesh, 100, key, title="A talk")
    assert await begin(mesh, 100, key, title="A talk") == path
    other = {**TUS, **key, "Upload-Length": "99", **said(title="A talk")}
    assert reason_of(await mesh.http.post("/v1/files", headers=other)) == (422, "KEY_REUSED")
    assert await begin(mesh, 100, title="A talk") != path


async def test_parts_to_be_put_together_are_refused(mesh: Gateway) -> None:
    headers = {**TUS, "Upload-Length": "100", "Upload-Concat": "partial"}
    assert (await mesh.http.post("/v1/files", headers=headers)).status_code == 400


async def test_bytes_behind_the_end_are_refused(mesh: Gateway) -> None:
    path = await begin(mesh, 100)
    assert (await send(mesh, path, 0, DATA[:101])).status_code == 400
    done = await send(mesh, path, 0, DATA[:100])
    assert done.status_code == 204
    assert (await send(mesh, path, 100, b"")).headers["earmark-video-id"] == done.headers["earmark-video-id"]
    assert (await send(mesh, path, 100, b"x")).status_code == 400


async def test_the_same_creation_does_not_bring_back_what_was_deleted(mesh: Gateway) -> None:
    key = {"Idempotency-Key": "talk 18"}
    path = await begin(mesh, 100, key)
    video = (await send(mesh, path, 0, DATA[:100])).headers["earmark-video-id"]
    assert await begin(mesh, 100, key) == path
    assert (await mesh.http.delete(f"/v1/videos/{video}")).status_code == 202
    again = await mesh.http.post("/v1/files", headers={**TUS, **key, "Upload-Length": "100"})
    assert reason_of(again) == (410, "RESULT_DELETED")


async def test_what_nobody_goes_on_with_is_swept(mesh: Gateway) -> None:
    path = await begin(mesh, len(DATA))
    assert (await send(mesh, path, 0, DATA[: 9 * 2**20 + 5])).status_code == 204
    uploads = mesh.backbone.database["uploads"]
    doc = await uploads.find_one({})
    assert doc is not None
    await uploads.update_one({"_id": doc["_id"]}, {"$set": {"expires_at": doc["created_at"]}})

    async def gone() -> bool:
        return (await mesh.http.head(path, headers=TUS)).status_code == 404

    await eventually(gone, 15, message="the sweeper has removed it")
    assert await mesh.backbone.objects.list("") == []
    assert (root := mesh.backbone.objects.root) is None or list(root.rglob("upl_*")) == []


async def test_an_upload_that_a_crash_kept_from_its_end_becomes_a_video(mesh: Gateway) -> None:
    """As after a kill between the last byte's being written down and the video's being made."""
    path = await begin(mesh, 100)
    video_id = (await send(mesh, path, 0, DATA[:100])).headers["earmark-video-id"]
    database = mesh.backbone.database
    for lost in (False, True):  # the video, and then only the word that it was made
        if not lost:
            await database["videos"].delete_one({"_id": video_id})
        await database["uploads"].update_one({}, {"$set": {"state": "open", "result": ""}})
        answer = await mesh.http.head(path, headers=TUS)
        assert answer.headers["earmark-video-id"] == video_id
        assert await stored(mesh, video_id) == DATA[:100]
    assert await database["videos"].count_documents({}) == 1


async def test_only_the_key_that_began_an_upload_sees_it(
    nats_url: str, mongo_url: str, mongo_database: str, object_store_url: str
) -> None:
    common = common_settings(nats_url, mongo_url, mongo_database, object_store_url)
    async with gateway(common, **KEYS) as mesh:
        mine = (await make_key(mesh, scopes=["upload"], collections=["a"], bytes_per_day=150))["key"]
        theirs = (await make_key(mesh, scopes=["upload"], collections=["a"]))["key"]
        path = await begin(mesh, 100, bearer(mine))
        for key in (theirs, ADMIN_KEY):
            assert (await mesh.http.head(path, headers={**TUS, **bearer(key)})).status_code == 404
            assert (await send(mesh, path, 0, b"x", **bearer(key))).status_code == 404
            assert (await mesh.http.delete(path, headers={**TUS, **bearer(key)})).status_code == 404
        # What is under way counts against the quota, so that it bounds what is kept.
        second = {**TUS, **bearer(mine), "Upload-Length": "60"}
        assert reason_of(await mesh.http.post("/v1/files", headers=second)) == (429, "QUOTA_EXCEEDED")
        unsaid = await mesh.http.post("/v1/files", headers={**TUS, **bearer(mine), "Upload-Defer-Length": "1"})
        assert unsaid.status_code == 201
        assert (await send(mesh, unsaid.headers["location"], 0, DATA[:70], **bearer(mine))).status_code == 204
        refused = await send(mesh, unsaid.headers["location"], 70, DATA[:70], **bearer(mine))
        assert reason_of(refused) == (429, "QUOTA_EXCEEDED")
        await mesh.http.delete(unsaid.headers["location"], headers={**TUS, **bearer(mine)})
        done = await send(mesh, path, 0, DATA[:100], **bearer(mine))
        video = await mesh.backbone.videos.get(done.headers["earmark-video-id"])
        assert video.collection == "a"
        too_much = {**TUS, **bearer(mine), "Upload-Length": "100"}
        assert reason_of(await mesh.http.post("/v1/files", headers=too_much)) == (429, "QUOTA_EXCEEDED")
        elsewhere = {**TUS, **bearer(theirs), "Upload-Length": "100", **said(collection="b")}
        assert reason_of(await mesh.http.post("/v1/files", headers=elsewhere)) == (403, "COLLECTION_NOT_ALLOWED")


async def test_an_upload_goes_on_after_its_gateway_was_killed(
    nats_url: str, mongo_url: str, mongo_database: str, object_store_url: str, tmp_path: Path
) -> None:
    """SIGKILL in the middle of a request; a new process goes on where the bytes that count end."""
    port = free_port()
    environment = {
        **os.environ,
        "EARMARK_NATS_URL": nats_url,
        "EARMARK_MONGO_URL": mongo_url,
        "EARMARK_MONGO_DATABASE": mongo_database,
        "EARMARK_OBJECT_STORE_URL": object_store_url,
        "EARMARK_HTTP_PORT": str(port),
        "EARMARK_GRPC_PORT": "0",
    }
    data = DATA * 3

    def start() -> subprocess.Popen[bytes]:
        log = (tmp_path / "gateway.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", "services.gateway"], env=environment, stdout=log, stderr=log)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:

        async def up() -> bool:
            return (await http.get("/healthz")).status_code == 200

        process = start()
        try:
            await eventually(up, 60, retry_on=(httpx.TransportError,), message="the gateway answers")
            head = {**TUS, "Upload-Length": str(len(data))}
            path = (await http.post("/v1/files", headers=head)).headers["location"]
            cut = asyncio.Event()

            async def endless() -> AsyncIterator[bytes]:
                for at in range(0, 45 * 2**20, 65_536):
                    yield data[at : at + 65_536]
                cut.set()
                await asyncio.sleep(3600)

            headers = {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(data))}
            sending = asyncio.create_task(http.patch(path, content=endless(), headers=headers))
            await cut.wait()

            async def written_down() -> bool:
                return int((await http.head(path, headers=TUS)).headers["upload-offset"]) > 0

            await eventually(written_down, 20)
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

            process = start()
            await eventually(up, 60, retry_on=(httpx.TransportError,), message="the gateway answers again")
            at = int((await http.head(path, headers=TUS)).headers["upload-offset"])
            assert 0 < at <= 45 * 2**20

            async def gone_on() -> bool:
                answer = await http.patch(path, content=data[at:], headers={**BYTES, "Upload-Offset": str(at)})
                return answer.status_code == 204

            # For as long as the lease of the killed one lasts, nobody else may write.
            await eventually(gone_on, 30, message="the upload goes on")
            video_id = (await http.head(path, headers=TUS)).headers["earmark-video-id"]
            video = (await http.get(f"/v1/videos/{video_id}")).json()
            assert video["source"]["sha256"] == hashlib.sha256(data).hexdigest()
            assert (await http.get(f"/v1/videos/{video_id}/media")).content == data
        finally:
            process.kill()
            process.wait(10)
