"""Title, collection and tags over HTTP and gRPC: given with a video, and changed afterwards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from earmark.v1 import video_service_pb2 as pb
from earmark.v1 import video_service_pb2_grpc as pb_grpc
from services.common.events import topology
from tests.support.gateway import Gateway

UNKNOWN = f"vid_{'0' * 26}"


async def stored(mesh: Gateway, video_id: str) -> tuple[str, str, tuple[str, ...]]:
    video = await mesh.backbone.videos.get(video_id)
    return video.title, video.collection, video.tags


def field_of(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    return str(response.json()["error"]["details"][1]["field"])


async def test_every_way_in_takes_collection_and_tags(mesh: Gateway) -> None:
    form: list[tuple[str, Any]] = [
        ("tag", (None, "bread")),
        ("file", ("talk.mp4", b"media", "video/mp4")),
        ("collection", (None, "talks")),
        ("tag", (None, " Brot & Käse ")),
        ("tag", (None, "bread")),
    ]
    uploaded = (await mesh.http.post("/videos/upload", files=form)).json()
    assert await stored(mesh, uploaded["video_id"]) == ("talk", "talks", ("bread", "Brot & Käse"))

    body = {"url": "https://1.1.1.1/a.mp4", "collection": "talks", "tags": ["bread"]}
    added = (await mesh.http.post("/videos", json=body)).json()
    assert await stored(mesh, added["video_id"]) == ("a", "talks", ("bread",))

    async def parts() -> AsyncIterator[pb.CreateVideoRequest]:
        yield pb.CreateVideoRequest(video=pb.NewVideo(filename="b.mp4", collection="talks", tags=["bread"]))
        yield pb.CreateVideoRequest(data=b"other media")

    streamed = (await pb_grpc.VideoServiceStub(mesh.channel).CreateVideo(parts())).video
    assert await stored(mesh, streamed.video_id) == ("b", "talks", ("bread",))


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("title", "x" * 5000, "title"), ("collection", "a b", "collection"), ("tag", "x" * 65, "tags")],
)
async def test_what_is_wrong_is_refused_on_every_way_in(mesh: Gateway, name: str, value: str, field: str) -> None:
    part, file = (name, (None, value)), ("file", ("a", b"x", "a/b"))
    for form in ([part, file], [file, part]):
        assert field_of(await mesh.http.post("/videos/upload", files=form)) == field
    given = {field: [value] if field == "tags" else value}
    assert field_of(await mesh.http.post("/videos", json={"url": "https://1.1.1.1/a.mp4", **given})) == field

    async def parts() -> AsyncIterator[pb.CreateVideoRequest]:
        yield pb.CreateVideoRequest(video=pb.NewVideo(filename="a", **given))
        yield pb.CreateVideoRequest(data=b"x")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pb_grpc.VideoServiceStub(mesh.channel).CreateVideo(parts())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await mesh.backbone.videos.page(limit=1) == []
    assert await mesh.backbone.objects.list("videos/") == []


async def test_a_wrong_title_before_the_file_is_refused_before_its_bytes(mesh: Gateway) -> None:
    # Over a socket of our own: httpx reads no answer while it still sends.
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.settings.http_port)
    writer.write(
        b"POST /videos/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\n' + b"x" * 301 + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nfirst bytes'
    )
    assert b" 400 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    writer.close()


async def test_a_change_is_kept_and_announced(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    change = {"title": " How  bread rises ", "collection": "talks", "tags": ["bread", "bread "]}
    response = await mesh.http.patch(f"/videos/{video_id}", json=change)
    assert response.status_code == 200, response.text
    assert response.json()["title"] == "How bread rises"
    assert await stored(mesh, video_id) == ("How bread rises", "talks", ("bread",))
    await mesh.http.patch(f"/videos/{video_id}", json={"collection": None})
    assert await stored(mesh, video_id) == ("How bread rises", "", ("bread",))
    bus = mesh.backbone.bus
    last = await bus.js.get_msg(topology.EVENTS, seq=await bus.last_sequence())
    assert topology.kind_of(last.subject or "") == "video.described"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "nothing is to change"),
        ({"title": " "}, "cannot be empty"),
        ({"title": "x" * 301}, "at most 300"),
        ({"title": None}, "title"),
        ({"tag": ["bread"]}, "tag"),
        ({"tags": "bread"}, "tags"),
        ({"collection": "a/b"}, "'a-b' would do"),
        ([], "JSON object"),
    ],
)
async def test_a_wrong_change_changes_nothing(mesh: Gateway, change: Any, message: str) -> None:
    video_id = (await mesh.upload())["video_id"]
    response = await mesh.http.patch(f"/videos/{video_id}", json=change)
    assert response.status_code == 400, response.text
    assert message in response.json()["error"]["message"]
    assert await stored(mesh, video_id) == ("talk", "", ())


async def test_a_video_that_is_not_there_or_going_cannot_be_changed(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    await mesh.backbone.videos.mark_deleting(video_id)
    for gone in (UNKNOWN, video_id, "nonsense"):
        response = await mesh.http.patch(f"/videos/{gone}", json={"title": "x"})
        assert (response.status_code, response.json()["error"]["details"][0]["reason"]) == (404, "VIDEO_NOT_FOUND")


async def test_a_change_by_grpc(mesh: Gateway) -> None:
    video_id = (await mesh.upload())["video_id"]
    stub = pb_grpc.VideoServiceStub(mesh.channel)
    request = pb.UpdateVideoRequest(video_id=video_id, title="Bread", tags=pb.TagList(tags=["a", "b"]))
    assert (await stub.UpdateVideo(request)).video.title == "Bread"
    await stub.UpdateVideo(pb.UpdateVideoRequest(video_id=video_id, collection="talks"))
    assert await stored(mesh, video_id) == ("Bread", "talks", ("a", "b"))
    await stub.UpdateVideo(pb.UpdateVideoRequest(video_id=video_id, collection="", tags=pb.TagList()))
    assert await stored(mesh, video_id) == ("Bread", "", ())
    for request in (pb.UpdateVideoRequest(video_id=video_id), pb.UpdateVideoRequest(video_id=video_id, title="")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.UpdateVideo(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
