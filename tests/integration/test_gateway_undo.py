"""Deleting, and bringing back while it can be; asking again for what has not changed."""

from __future__ import annotations

import grpc
import httpx
import pytest

from earmark.v1 import video_pb2
from earmark.v1 import video_service_pb2 as pb
from earmark.v1 import video_service_pb2_grpc as rpc
from services.common.objects import transcript_key, video_prefix
from services.common.settings import CommonSettings
from services.common.transcript import Segment, SliceTranscript
from services.common.videos.model import SliceState, VideoStatus
from tests.support.gateway import Gateway, gateway
from tests.support.waiting import eventually

GATEWAY = {"delete_undo_seconds": 3600}


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["details"][0]["reason"]


async def made(mesh: Gateway, *, slices: int = 2) -> str:
    """A video that is ready."""
    video_id: str = (await mesh.upload())["video_id"]
    videos, objects = mesh.backbone.videos, mesh.backbone.objects
    await videos.begin_processing(video_id)
    for number in range(slices):
        name = f"{number:05d}"
        await videos.add_slice(video_id, name, start_time=number * 10, end_time=number * 10 + 10)
        spoken = SliceTranscript(video_id, name, 0, 10, "en", 0.9, "base", [Segment(0, 5, "The yeast eats.", [])])
        await objects.put(transcript_key(video_id, name), spoken.to_bytes())
        await videos.slice_transcribed(video_id, name, language="en", asr_model="base")
        await videos.slice_embedded(video_id, name, chunks=[], embedding_model="m")
        await videos.slice_indexed(video_id, name, sequence=5)
    await videos.finish_slicing(video_id, duration=slices * 10)
    return video_id


async def listed(mesh: Gateway, **params: str) -> list[str]:
    return [video["video_id"] for video in (await mesh.http.get("/v1/videos", params=params)).json()["videos"]]


async def test_a_deleted_video_is_hidden_and_can_be_brought_back(mesh: Gateway) -> None:
    video_id, videos = await made(mesh), mesh.backbone.videos
    path = f"/v1/videos/{video_id}"
    deleted = await mesh.http.delete(path)
    assert (deleted.status_code, deleted.json()["status"]) == (202, "deleting")
    assert deleted.json()["restorable_until"] is not None
    assert await listed(mesh) == []
    assert await listed(mesh, status="deleting") == [video_id]
    assert (await mesh.http.get(f"{path}/transcript")).status_code == 404
    assert (await mesh.http.get(f"{path}/media")).status_code == 404
    assert (await mesh.http.patch(path, json={"title": "Another"})).status_code == 404
    assert (await mesh.http.delete(path)).json()["restorable_until"] == deleted.json()["restorable_until"]
    # The cleaner has heard of it, and keeps it.
    await eventually(lambda: _all_handled(mesh))

    back = await mesh.http.post(f"{path}/restore")
    assert (back.status_code, back.json()["status"], back.json()["restorable_until"]) == (202, "processing", None)
    video = await videos.get(video_id)
    assert {part.state for part in video.slices} == {SliceState.EMBEDDED}
    for part in video.slices:  # as the indexers do with the events that are owed
        await videos.slice_indexed(video_id, part.slice_id, sequence=9)
    assert (await videos.get(video_id)).status is VideoStatus.READY
    assert await listed(mesh) == [video_id]
    assert (await mesh.http.get(f"{path}/media")).content == b"media"
    assert len((await mesh.http.get(f"{path}/transcript")).json()["segments"]) == 2
    assert reason_of(await mesh.http.post(f"{path}/restore")) == (409, "NOT_RESTORABLE")


async def _all_handled(mesh: Gateway) -> bool:
    return (await mesh.backbone.bus.backlog()).get("cleaner", 0) == 0


@pytest.mark.parametrize("former", [VideoStatus.UPLOADED, VideoStatus.FAILED, VideoStatus.READY])
async def test_what_has_nothing_to_index_is_as_it_was(mesh: Gateway, former: VideoStatus) -> None:
    videos = mesh.backbone.videos
    video_id = await made(mesh, slices=0) if former is VideoStatus.READY else (await mesh.upload())["video_id"]
    if former is VideoStatus.FAILED:
        await videos.fail(video_id, stage="slice", reason="X", message="x")
    assert (await videos.get(video_id)).status is former
    await mesh.http.delete(f"/v1/videos/{video_id}")
    assert (await mesh.http.post(f"/v1/videos/{video_id}/restore")).json()["status"] == former


async def test_a_name_that_was_taken_meanwhile_stays_taken(mesh: Gateway) -> None:
    body = {"title": "x", "segments": [{"start": 0, "end": 1, "text": "x"}], "external_id": "talk 1"}
    first = (await mesh.http.post("/v1/videos/import", json=body)).json()["video_id"]
    path = f"/v1/videos/{first}"
    await mesh.http.delete(path)
    assert (await mesh.http.post(f"{path}/restore")).status_code == 202
    assert (await mesh.http.post("/v1/videos/import", json=body)).json()["video_id"] == first
    await mesh.http.delete(path)
    second = (await mesh.http.post("/v1/videos/import", json=body)).json()["video_id"]
    assert second != first
    assert (await mesh.http.post(f"{path}/restore")).status_code == 202
    assert (await mesh.http.post("/v1/videos/import", json=body)).json()["video_id"] == second


async def test_what_is_deleted_for_good_is_gone(mesh: Gateway) -> None:
    for before in (False, True):
        video_id = await made(mesh)
        path = f"/v1/videos/{video_id}"
        if before:
            await mesh.http.delete(path)
        assert (await mesh.http.delete(path, params={"now": True})).json()["restorable_until"] is None
        answer = await mesh.http.post(f"{path}/restore")
        assert answer.status_code in {404, 409}

        async def gone(path: str = path) -> bool:
            return (await mesh.http.get(path)).status_code == 404

        await eventually(gone, 15)
        assert await mesh.backbone.objects.list(video_prefix(video_id)) == []


async def test_the_sweeper_removes_what_nobody_brought_back(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, delete_undo_seconds=0.5, sweep_every_seconds=0.2) as mesh:
        video_id = await made(mesh)
        await mesh.http.delete(f"/v1/videos/{video_id}")

        async def gone() -> bool:
            return (await mesh.http.get(f"/v1/videos/{video_id}")).status_code == 404

        await eventually(gone, 15)
        assert await mesh.backbone.objects.list(video_prefix(video_id)) == []
        assert reason_of(await mesh.http.post(f"/v1/videos/{video_id}/restore")) == (404, "VIDEO_NOT_FOUND")


async def test_nothing_is_brought_back_that_is_being_removed(mesh: Gateway) -> None:
    video_id, videos = await made(mesh), mesh.backbone.videos
    await mesh.http.delete(f"/v1/videos/{video_id}")
    # The sweeper has said that it goes, and the cleaner has not come yet.
    await mesh.backbone.database["videos"].update_one({"_id": video_id}, {"$set": {"purging": True}})
    assert reason_of(await mesh.http.post(f"/v1/videos/{video_id}/restore")) == (409, "NOT_RESTORABLE")
    assert (await videos.get(video_id)).status is VideoStatus.DELETING


async def test_by_grpc_it_is_the_same(mesh: Gateway) -> None:
    stub, video_id = rpc.VideoServiceStub(mesh.channel), await made(mesh, slices=0)
    deleted = (await stub.DeleteVideo(pb.DeleteVideoRequest(video_id=video_id))).video
    assert deleted.state == video_pb2.VIDEO_STATE_DELETING
    assert deleted.HasField("restorable_until")
    back = (await stub.RestoreVideo(pb.RestoreVideoRequest(video_id=video_id))).video
    assert (back.state, back.HasField("restorable_until")) == (video_pb2.VIDEO_STATE_READY, False)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.RestoreVideo(pb.RestoreVideoRequest(video_id=video_id))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_what_has_not_changed_is_not_sent_again(mesh: Gateway) -> None:
    video_id = await made(mesh)
    path = f"/v1/videos/{video_id}"
    seen: set[str] = set()
    for asked in (path, f"{path}/transcript", f"{path}/transcript?format=vtt", f"{path}/transcript?format=srt"):
        first = await mesh.http.get(asked)
        etag = first.headers["etag"]
        seen.add(etag)
        assert first.headers["cache-control"] == "private, no-cache"
        for header in (etag, f'"x", W/{etag}', "*"):
            again = await mesh.http.get(asked, headers={"If-None-Match": header})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert (await mesh.http.get(asked, headers={"If-None-Match": '"x"'})).status_code == 200
    assert len(seen) == 4
    etag = (await mesh.http.get(path)).headers["etag"]
    await mesh.http.patch(path, json={"title": "Another"})
    assert (await mesh.http.get(path, headers={"If-None-Match": etag})).json()["title"] == "Another"
    # That of a transcript, in whichever form it was asked for, says which revision a change is made of.
    for form, code in (("json", 200), ("vtt", 412)):
        etag = (await mesh.http.get(f"{path}/transcript", params={"format": form})).headers["etag"]
        change = {"text": "The yeast eats the sugar."}
        if code == 412:
            await mesh.http.patch(f"{path}/transcript/segments/00001.0", json=change)
        answer = await mesh.http.patch(
            f"{path}/transcript/segments/00000.0", json={"text": f"{form}."}, headers={"If-Match": etag}
        )
        assert answer.status_code == code, answer.text
