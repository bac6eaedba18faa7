"""What comes twice: the same bytes, the same request, at the same time or with something deleted in between."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from earmark.v1 import video_service_pb2 as pb
from earmark.v1 import video_service_pb2_grpc as rpc
from services.common.objects import media_key
from services.common.pending_uploads import PendingUploads
from services.common.settings import CommonSettings
from tests.support.gateway import Gateway, gateway
from tests.support.keys import KEYS, bearer, make_key
from tests.support.waiting import eventually

VTT = b"WEBVTT\n\n00:00.000 --> 00:04.000\nThe yeast eats the sugar.\n"


async def upload(mesh: Gateway, data: bytes = b"the same", **given: Any) -> httpx.Response:
    headers = given.pop("headers", {})
    parts = {name: (None, value) for name, value in given.items()}
    return await mesh.http.post("/v1/videos/upload", files={**parts, "file": ("a.mp4", data)}, headers=headers)


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["details"][0]["reason"]


async def media_of(mesh: Gateway) -> set[str]:
    return {key for key in await mesh.backbone.objects.list("videos/") if key.endswith("/media")}


async def test_the_same_bytes_are_recognised(mesh: Gateway) -> None:
    first = await upload(mesh, title="First")
    again = await upload(mesh, title="Second")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["video_id"] == first.json()["video_id"]
    assert (again.json()["title"], again.headers["earmark-existing"]) == ("First", "true")
    assert again.headers["location"] == first.headers["location"]
    assert await media_of(mesh) == {media_key(first.json()["video_id"])}
    others = [
        await upload(mesh, duplicate="allow"),
        await upload(mesh, collection="other"),
        await upload(mesh, b"another"),
        await upload(mesh, task="translate"),
        await upload(mesh, captions=VTT),
    ]
    assert [answer.status_code for answer in others] == [202] * 5
    assert (await upload(mesh, task="translate")).json()["video_id"] == others[3].json()["video_id"]
    assert (await upload(mesh, duplicate="perhaps")).status_code == 400
    failed = others[1].json()["video_id"]
    await mesh.backbone.videos.fail(failed, stage="slice", reason="X", message="x")
    assert (await upload(mesh, collection="other")).status_code == 202


async def test_the_same_bytes_at_the_same_time_are_one_video(mesh: Gateway) -> None:
    answers = await asyncio.gather(*(upload(mesh) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
    ids = {answer.json()["video_id"] for answer in answers}
    assert await media_of(mesh) == {media_key(video_id) for video_id in ids}
    assert len(ids) == 1
    assert await mesh.backbone.database["uploads"].count_documents({}) == 0


async def test_bytes_whose_video_is_being_deleted_are_taken_anew(mesh: Gateway) -> None:
    first = (await upload(mesh)).json()["video_id"]
    await mesh.http.delete(f"/v1/videos/{first}")
    again = await upload(mesh)
    assert again.status_code == 202
    assert again.json()["video_id"] != first
    assert media_key(again.json()["video_id"]) in await media_of(mesh)


async def test_bytes_of_others_are_not_known(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, **KEYS) as mesh:
        keys = [(await make_key(mesh, scopes=["upload"], collections=[name]))["key"] for name in ("a", "b")]
        answers = [await upload(mesh, headers=bearer(key)) for key in keys]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert (await upload(mesh, headers=bearer(keys[0]))).json()["video_id"] == answers[0].json()["video_id"]


async def test_a_checksum_of_the_file_and_of_the_body_is_compared(mesh: Gateway) -> None:
    right, wrong = hashlib.sha256(b"the same").hexdigest(), hashlib.sha256(b"x").hexdigest()
    assert (await upload(mesh, sha256=right)).status_code == 202
    assert reason_of(await upload(mesh, b"the sane", sha256=right)) == (422, "CHECKSUM_MISMATCH")
    assert (await upload(mesh, sha256="no checksum")).status_code == 400
    request = mesh.http.build_request("POST", "/v1/videos/upload", files={"file": ("a.mp4", b"more")})
    body = request.read()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    for header, value in (("Content-Digest", f"sha-256=:{digest}:"), ("Digest", f"SHA-256={digest}")):
        headers = {"Content-Type": request.headers["content-type"], header: value}
        assert (await mesh.http.post("/v1/videos/upload", content=body, headers=headers)).is_success
    headers["Digest"] = f"SHA-256={base64.b64encode(bytes.fromhex(wrong)).decode()}"
    refused = await mesh.http.post("/v1/videos/upload", content=body, headers=headers)
    assert reason_of(refused) == (422, "CHECKSUM_MISMATCH")
    assert len(await media_of(mesh)) == 2


async def test_a_request_is_done_once_for_its_key(mesh: Gateway) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    body = {"url": "https://1.1.1.1/a.mp4", "title": "A"}
    answers = await asyncio.gather(*(mesh.http.post("/v1/videos", json=body, headers=key) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [202]
    assert len({answer.json()["video_id"] for answer in answers}) == 1
    other = await mesh.http.post("/v1/videos", json={**body, "title": "B"}, headers=key)
    assert reason_of(other) == (422, "KEY_REUSED")
    assert reason_of(await upload(mesh, headers=key)) == (422, "KEY_REUSED")
    assert (await mesh.http.post("/v1/videos", json=body)).status_code == 202
    too_long = await mesh.http.post("/v1/videos", json=body, headers={"Idempotency-Key": "x" * 257})
    assert too_long.status_code == 400

    mine = {"Idempotency-Key": "mine"}
    first = await upload(mesh, duplicate="allow", headers=mine)
    second = await upload(mesh, duplicate="allow", headers=mine)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["video_id"] == first.json()["video_id"]
    assert reason_of(await upload(mesh, b"other", duplicate="allow", headers=mine)) == (422, "KEY_REUSED")
    assert len(await media_of(mesh)) == 1


async def test_what_was_written_down_and_not_done_is_done(mesh: Gateway) -> None:
    """As after a kill between a key's being written down and the video's being made."""
    key = {"Idempotency-Key": "killed"}
    body = {"url": "https://1.1.1.1/a.mp4"}
    first = (await mesh.http.post("/v1/videos", json=body, headers=key)).json()["video_id"]
    await mesh.backbone.database["videos"].delete_one({"_id": first})
    await mesh.backbone.database["request_keys"].update_one({"result": first}, {"$set": {"made": False}})
    again = await mesh.http.post("/v1/videos", json=body, headers=key)
    assert again.status_code == 202
    assert again.json()["video_id"] != first
    assert (await mesh.http.post("/v1/videos", json=body, headers=key)).json()["video_id"] == again.json()["video_id"]


async def test_a_request_sent_again_does_not_bring_back_what_was_deleted(mesh: Gateway) -> None:
    for send in (
        lambda: mesh.http.post("/v1/videos", json={"url": "https://1.1.1.1/a.mp4"}, headers={"Idempotency-Key": "url"}),
        lambda: upload(mesh, duplicate="allow", headers={"Idempotency-Key": "form"}),
    ):
        video = (await send()).json()["video_id"]
        assert (await mesh.http.delete(f"/v1/videos/{video}", params={"now": True})).status_code == 202
        assert reason_of(await send()) == (410, "RESULT_DELETED")  # also while it is on its way out

        async def gone(video: str = video) -> bool:
            return (await mesh.http.get(f"/v1/videos/{video}")).status_code == 404

        await eventually(gone, 30, message="the video is removed")
        assert reason_of(await send()) == (410, "RESULT_DELETED")
        assert await mesh.backbone.database["videos"].count_documents({}) == 0


async def test_by_grpc_it_is_the_same(mesh: Gateway) -> None:
    create = rpc.VideoServiceStub(mesh.channel).CreateVideo

    async def send(**told: Any) -> pb.CreateVideoResponse:
        async def requests() -> AsyncIterator[pb.CreateVideoRequest]:
            yield pb.CreateVideoRequest(video=pb.NewVideo(filename="a.mp4", **told))
            yield pb.CreateVideoRequest(data=b"the same")

        return await create(requests())

    first = await send(sha256=hashlib.sha256(b"the same").hexdigest())
    again = await send()
    assert (first.already_there, again.already_there) == (False, True)
    assert again.video.video_id == first.video.video_id == (await upload(mesh)).json()["video_id"]
    assert not (await send(allow_duplicate=True)).already_there
    ours = await send(allow_duplicate=True, request_id="ours")
    assert (await send(allow_duplicate=True, request_id="ours")).video.video_id == ours.video.video_id


async def test_what_a_killed_gateway_leaves_of_an_upload_is_swept(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, sweep_every_seconds=0.2) as mesh:
        uploads, objects = mesh.backbone.database["uploads"], mesh.backbone.objects
        kept = (await upload(mesh)).json()["video_id"]
        lost = f"vid_{'1' * 26}"
        await objects.put(media_key(lost), b"half a video")
        assert objects.root is not None
        (objects.root / "videos" / lost / "media#1").write_bytes(b"half")  # as the store names what it writes to
        for video_id in (kept, lost):
            await PendingUploads(mesh.backbone.database).begin(video_id)
        await uploads.update_many({}, {"$set": {"expires_at": dt.datetime.now(dt.UTC)}})

        async def swept() -> bool:
            return await uploads.count_documents({}) == 0

        await eventually(swept, 10)
        assert await media_of(mesh) == {media_key(kept)}
        assert not (objects.root / "videos" / lost).exists()
