"""The public gRPC API of a whole gateway."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.v1 import search_service_pb2 as search_pb
from earmark.v1 import search_service_pb2_grpc as search_grpc
from earmark.v1 import video_pb2
from earmark.v1 import video_service_pb2 as pb
from earmark.v1 import video_service_pb2_grpc as video_grpc
from services.common.objects import media_key
from tests.support.gateway import Gateway
from tests.support.gateway_peers import chunk
from tests.support.waiting import eventually

UNKNOWN = f"vid_{'0' * 26}"


GATEWAY = {"max_upload_bytes": 3_000_000}


@pytest.fixture
def videos(mesh: Gateway) -> video_grpc.VideoServiceStub:
    return video_grpc.VideoServiceStub(mesh.channel)


async def parts(*data: bytes, title: str = "", uri: str = "") -> AsyncIterator[pb.CreateVideoRequest]:
    new = pb.NewVideo(title=title, filename="talk.mp4", content_type="video/mp4", uri=uri)
    yield pb.CreateVideoRequest(video=new)
    for block in data:
        yield pb.CreateVideoRequest(data=block)


def details_of(error: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The reason of an error, and the fields it names."""
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    reason, fields = "", []
    for detail in status.details:
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    return reason, fields


async def test_streamed_bytes_become_a_video(mesh: Gateway, videos: video_grpc.VideoServiceStub) -> None:
    blocks = [bytes([number]) * 500_000 for number in range(5)]
    video = (await videos.CreateVideo(parts(*blocks, title="Streamed"))).video
    assert (video.title, video.state, video.source.size_bytes) == (
        "Streamed",
        video_pb2.VIDEO_STATE_UPLOADED,
        2_500_000,
    )
    assert await mesh.backbone.objects.get(media_key(video.video_id)) == b"".join(blocks)
    same = (await videos.GetVideo(pb.GetVideoRequest(video_id=video.video_id))).video
    assert same.source == video.source
    over_http = (await mesh.http.get(f"/videos/{video.video_id}")).json()
    assert over_http["source"]["sha256"] == video.source.sha256


async def test_a_uri_becomes_a_video(videos: video_grpc.VideoServiceStub) -> None:
    video = (await videos.CreateVideo(parts(uri="https://1.1.1.1/a.mp4"))).video
    assert (video.url, video.title, video.HasField("source")) == ("https://1.1.1.1/a.mp4", "a", False)


@pytest.mark.parametrize(
    ("data", "uri", "code", "reason", "fields"),
    [
        ([], "", "INVALID_ARGUMENT", "MEDIA_EMPTY", ["data"]),
        ([b"x" * 1_000_000] * 4, "", "INVALID_ARGUMENT", "MEDIA_TOO_LARGE", ["data"]),
        ([b"x"], "https://1.1.1.1/a.mp4", "INVALID_ARGUMENT", "INVALID_ARGUMENT", ["data"]),
        ([], "http://10.0.0.1/a.mp4", "FAILED_PRECONDITION", "ADDRESS_REFUSED", ["video.uri"]),
        ([], "gopher://x/a", "INVALID_ARGUMENT", "INVALID_ARGUMENT", ["video.uri"]),
    ],
)
async def test_what_cannot_become_a_video_is_refused(
    mesh: Gateway,
    videos: video_grpc.VideoServiceStub,
    data: list[bytes],
    uri: str,
    code: str,
    reason: str,
    fields: list[str],
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await videos.CreateVideo(parts(*data, uri=uri))
    assert refused.value.code().name == code
    assert details_of(refused.value) == (reason, fields)
    assert await mesh.backbone.objects.list("videos/") == []


async def test_bytes_before_a_description_are_refused(videos: video_grpc.VideoServiceStub) -> None:
    async def only_data() -> AsyncIterator[pb.CreateVideoRequest]:
        yield pb.CreateVideoRequest(data=b"x")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await videos.CreateVideo(only_data())
    assert details_of(refused.value) == ("INVALID_ARGUMENT", ["video"])


async def test_a_cancelled_upload_leaves_nothing_behind(mesh: Gateway, videos: video_grpc.VideoServiceStub) -> None:
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[pb.CreateVideoRequest]:
        yield pb.CreateVideoRequest(video=pb.NewVideo(title="x"))
        yield pb.CreateVideoRequest(data=b"x" * 1_000_000)
        sent.set()
        await asyncio.Event().wait()

    call = videos.CreateVideo(endless())
    await sent.wait()
    call.cancel()

    async def nothing() -> bool:
        return await mesh.backbone.objects.list("videos/") == []

    await eventually(nothing)
    assert await mesh.backbone.videos.page(limit=1) == []


async def test_lists_go_on_by_token(mesh: Gateway, videos: video_grpc.VideoServiceStub) -> None:
    ids = [(await mesh.upload(name=f"{number}.mp4"))["video_id"] for number in range(3)]
    first = await videos.ListVideos(pb.ListVideosRequest(page_size=2))
    rest = await videos.ListVideos(pb.ListVideosRequest(page_size=2, page_token=first.next_page_token))
    assert [video.video_id for page in (first, rest) for video in page.videos] == ids[::-1]
    assert rest.next_page_token == ""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await videos.ListVideos(
            pb.ListVideosRequest(page_token=first.next_page_token, state=video_pb2.VIDEO_STATE_READY)
        )
    assert details_of(refused.value) == ("INVALID_ARGUMENT", ["page_token"])


async def test_a_video_is_watched_to_its_end(mesh: Gateway, videos: video_grpc.VideoServiceStub) -> None:
    video_id = (await mesh.upload())["video_id"]
    states = []
    async for response in videos.WatchVideo(pb.WatchVideoRequest(video_id=video_id)):
        states.append(response.video.state)
        if len(states) == 1:
            await mesh.backbone.videos.begin_processing(video_id)
            await mesh.backbone.videos.finish_slicing(video_id, duration=1.5)
    assert (states[0], states[-1]) == (video_pb2.VIDEO_STATE_UPLOADED, video_pb2.VIDEO_STATE_READY)
    ready = (await videos.GetVideo(pb.GetVideoRequest(video_id=video_id))).video
    assert (ready.duration.seconds, ready.duration.nanos, ready.progress.slicing_done) == (1, 500_000_000, True)


async def test_a_watch_ends_as_unavailable_when_the_gateway_stops(
    own_mesh: Gateway,
) -> None:
    video_id = (await own_mesh.upload())["video_id"]
    videos = video_grpc.VideoServiceStub(own_mesh.channel)
    call = videos.WatchVideo(pb.WatchVideoRequest(video_id=video_id))
    await call.read()
    own_mesh.stop.set()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_delete_and_retry(mesh: Gateway, videos: video_grpc.VideoServiceStub) -> None:
    video_id = (await mesh.upload())["video_id"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await videos.RetryVideo(pb.RetryVideoRequest(video_id=video_id))
    assert details_of(refused.value)[0] == "NOT_FAILED"
    deleted = (await videos.DeleteVideo(pb.DeleteVideoRequest(video_id=video_id))).video
    assert deleted.state == video_pb2.VIDEO_STATE_DELETING


@pytest.mark.parametrize("method", ["GetVideo", "DeleteVideo", "RetryVideo", "WatchVideo"])
@pytest.mark.parametrize("video_id", [UNKNOWN, "", ">", "x" * 5000])
async def test_an_unknown_video_is_not_found(videos: video_grpc.VideoServiceStub, method: str, video_id: str) -> None:
    call = getattr(videos, method)(getattr(pb, f"{method}Request")(video_id=video_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call.read() if method == "WatchVideo" else call)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert details_of(refused.value)[0] == "VIDEO_NOT_FOUND"


async def test_a_search_answers_as_over_http(mesh: Gateway) -> None:
    video_id = f"vid_{'a' * 26}"
    mesh.index(chunk(video_id, 0, "Welcome. Bread rises slowly.", 30.0, 60.0, [(0, 30.0), (9, 31.25)], title="Bread"))
    stub = search_grpc.SearchServiceStub(mesh.channel)
    answer = await stub.Search(search_pb.SearchRequest(query="bread"))
    hit = answer.hits[0]
    assert (hit.video_id, hit.title, hit.match_offset.seconds, hit.match_offset.nanos) == (
        video_id,
        "Bread",
        31,
        250_000_000,
    )
    assert hit.text[hit.sentence.start : hit.sentence.end] == "Bread rises slowly."
    over_http = (await mesh.http.get("/search", params={"q": "bread"})).json()
    assert [hit.score] == [found["score"] for found in over_http["hits"]]
    assert (answer.coverage.complete, list(answer.coverage.legs)) == (True, ["semantic", "keyword"])
    assert answer.timing.total.nanos > 0
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Search(search_pb.SearchRequest(query=" "))
    assert details_of(refused.value) == ("INVALID_ARGUMENT", ["query"])


async def test_health_serves(mesh: Gateway) -> None:
    stub = health_pb2_grpc.HealthStub(mesh.channel)
    for service in ("", *(f"earmark.v1.{name}Service" for name in ("Video", "Search", "Transcript"))):
        response = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == health_pb2.HealthCheckResponse.SERVING
