"""Who may do and see what, over every route and every call of a whole gateway."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2, status_pb2

from earmark.internal.v1 import shard_service_pb2 as shard_pb
from earmark.v1 import search_service_pb2, transcript_service_pb2, video_service_pb2
from services.common.objects import transcript_key
from services.common.transcript import Segment, SliceTranscript
from services.gateway.http.access import is_public
from services.gateway.versions import plain, versioned
from tests.support.gateway import Gateway
from tests.support.gateway_peers import chunk
from tests.support.keys import ADMIN_KEY, KEYS, bearer, make_key, upload
from tests.support.stored_pictures import put_pictures

GATEWAY = KEYS
UNKNOWN = f"vid_{'0' * 26}"
SECRET_WORDS = "the yeast eats the sugar"


@dataclass
class Two:
    """A gateway with two tenants, each with a key and a video of the same words."""

    mesh: Gateway
    mine: str
    my_key: str
    theirs: str
    their_key: str


@pytest.fixture
async def two(mesh: Gateway) -> Two:
    made = []
    for name in ("mine", "theirs"):
        key = (await make_key(mesh, collections=[name], scopes=["read", "upload"]))["key"]
        answer = await upload(mesh, key, title=f"A talk of {name}", collection=name)
        assert answer.status_code == 202, answer.text
        video_id = answer.json()["video_id"]
        await transcribe(mesh, video_id)
        mesh.index(chunk(video_id, 0, SECRET_WORDS))
        for shard in mesh.shards:
            shard.videos[video_id] = shard_pb.IndexedVideo(video_id=video_id, collection=name)
        made += [video_id, key]
    return Two(mesh, *made)


async def transcribe(mesh: Gateway, video_id: str) -> None:
    videos, objects = mesh.backbone.videos, mesh.backbone.objects
    await videos.begin_processing(video_id)
    await videos.add_slice(video_id, "00000", start_time=0, end_time=10)
    spoken = SliceTranscript(video_id, "00000", 0, 10, "en", 0.9, "base", [Segment(0, 5, SECRET_WORDS, [])])
    await objects.put(transcript_key(video_id, "00000"), spoken.to_bytes())
    await videos.slice_transcribed(video_id, "00000", language="en", asr_model="base")
    await videos.slice_embedded(video_id, "00000", chunks=[], embedding_model="m")
    await videos.slice_indexed(video_id, "00000")
    await videos.finish_slicing(video_id, duration=10)
    await put_pictures(videos, objects, video_id)


TUS = {"Tus-Resumable": "1.0.0"}
# What to send, where a route needs more than its path. A route that is in the API and not tried here fails the test.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/search"): {"params": {"q": SECRET_WORDS}},
    ("GET", "/videos"): {},
    ("POST", "/videos"): {"json": {"url": "https://1.1.1.1/a.mp4", "collection": "theirs"}},
    ("POST", "/videos/upload"): {"files": {"collection": (None, "theirs"), "file": ("a.mp4", b"x", "video/mp4")}},
    ("POST", "/videos/import"): {
        "json": {"title": "x", "collection": "theirs", "segments": [{"start": 0, "end": 1, "text": "x"}]}
    },
    ("GET", "/videos/{video_id}"): {},
    ("PATCH", "/videos/{video_id}"): {"json": {"title": "Taken over"}},
    ("DELETE", "/videos/{video_id}"): {},
    ("GET", "/videos/{video_id}/status"): {},
    ("GET", "/videos/{video_id}/events"): {},
    ("POST", "/videos/{video_id}/restore"): {},
    ("POST", "/videos/{video_id}/retry"): {},
    ("GET", "/videos/{video_id}/transcript"): {},
    ("HEAD", "/videos/{video_id}/transcript"): {},
    ("PUT", "/videos/{video_id}/transcript"): {
        "content": b"WEBVTT\n\n00:00.000 --> 00:01.000\nx\n",
        "headers": {"Content-Type": "text/vtt"},
    },
    ("PATCH", "/videos/{video_id}/transcript/segments/{segment}"): {"json": {"text": "x"}},
    ("GET", "/videos/{video_id}/media"): {},
    ("HEAD", "/videos/{video_id}/media"): {},
    ("GET", "/videos/{video_id}/thumbnail"): {},
    ("HEAD", "/videos/{video_id}/thumbnail"): {},
    ("GET", "/videos/{video_id}/sprites.vtt"): {},
    ("HEAD", "/videos/{video_id}/sprites.vtt"): {},
    ("GET", "/videos/{video_id}/sprites/{number}.jpg"): {},
    ("HEAD", "/videos/{video_id}/sprites/{number}.jpg"): {},
    ("GET", "/operations"): {},
    ("OPTIONS", "/files"): {},
    ("POST", "/files"): {"headers": {**TUS, "Upload-Length": "9", "Upload-Metadata": "collection dGhlaXJz"}},
    ("HEAD", "/files/{upload_id}"): {"headers": TUS},
    ("PATCH", "/files/{upload_id}"): {
        "content": b"x",
        "headers": {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
    },
    ("DELETE", "/files/{upload_id}"): {"headers": TUS},
    ("POST", "/uploads"): {"json": {"bytes": 9, "collection": "theirs"}},
    ("GET", "/uploads/{upload_id}"): {},
    ("POST", "/uploads/{upload_id}/parts"): {"json": {"parts": [1]}},
    ("POST", "/uploads/{upload_id}/complete"): {},
    ("DELETE", "/uploads/{upload_id}"): {},
    ("GET", "/shards"): {},
    ("GET", "/shards/digests"): {},
    ("POST", "/shards/plan"): {"json": {"shards": 2}},
    ("POST", "/shards/move"): {"json": {"slots": [0], "to": 1}},
    ("POST", "/shards/scale"): {"json": {"shards": 2}},
    ("POST", "/shards/cancel"): {"json": {}},
    ("POST", "/shards/rebuild"): {"json": {"all": True}},
    ("POST", "/keys"): {"json": {"name": "more for me", "scopes": ["admin"]}},
    ("GET", "/keys"): {},
    ("GET", "/keys/self"): {},
    ("GET", "/keys/{key_id}"): {},
    ("DELETE", "/keys/{key_id}"): {},
    ("GET", "/metrics"): {},
}
ANY_KEY = {("GET", "/keys/self"), ("OPTIONS", "/files")}
LISTS = {("GET", "/search"), ("GET", "/videos"), ("GET", "/keys/self")}
CREATES = {("POST", f"/{name}") for name in ("videos", "videos/upload", "videos/import", "files", "uploads")}
UPLOADING = {route for route in BODIES if "{upload_id}" in route[1]}
"""Of an upload under way, which is its key's alone (test_gateway_tus.py)."""
ADMINS = {route for route in BODIES if route[1].startswith(("/operations", "/shards", "/keys", "/metrics"))} - LISTS


async def ask(
    mesh: Gateway, route: tuple[str, str], video_id: str, key: str = "", *, name: Callable[[str], str] = plain
) -> httpx.Response:
    method, path = route
    given = dict(BODIES[route])
    headers = {**given.pop("headers", {}), **(bearer(key) if key else {})}
    names = {"segment": "00000.0", "key_id": "key0000000000000000", "number": 0, "upload_id": "upl_x"}
    path = path.format(video_id=video_id, **names)
    return await mesh.http.request(method, name(path), headers=headers, **given)


async def routes_of(mesh: Gateway) -> set[tuple[str, str]]:
    paths = (await mesh.http.get("/openapi.json")).json()["paths"]
    found = {(method.upper(), plain(path)) for path, operations in paths.items() for method in operations}
    return {(method, path) for method, path in found if not is_public(path)}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "status", "message", "details"}
    return answer.status_code, error["details"][0]["reason"]


async def test_every_route_is_tried_here(two: Two) -> None:
    assert await routes_of(two.mesh) | {route for route in BODIES if route[0] == "HEAD"} == set(BODIES)


async def test_no_route_answers_without_a_key(two: Two) -> None:
    for route in BODIES:
        for video_id, name in ((two.theirs, plain), (UNKNOWN, plain), (two.theirs, versioned)):
            answer = await ask(two.mesh, route, video_id, name=name)
            assert answer.status_code == 401, route
            assert answer.headers["www-authenticate"].startswith("Bearer")
            if route[0] != "HEAD":
                assert error_of(answer) == (401, "KEY_REQUIRED"), route


@pytest.mark.parametrize("key", ["x", f"earmark_key{'0' * 16}_{'A' * 43}", ADMIN_KEY[:-1], f"{ADMIN_KEY}a"])
async def test_no_route_answers_a_key_that_is_none(two: Two, key: str) -> None:
    for route in BODIES:
        answer = await ask(two.mesh, route, two.theirs, key)
        assert answer.status_code == 401, route


async def test_what_is_of_others_is_not_there(two: Two) -> None:
    mesh, key = two.mesh, two.my_key
    for route in set(BODIES) - LISTS - ADMINS - CREATES - ANY_KEY:
        answer, unknown = await ask(mesh, route, two.theirs, key), await ask(mesh, route, UNKNOWN, key)
        assert answer.status_code == unknown.status_code == 404, route
        # Nothing tells a video of others from one that never was.
        assert answer.text.replace(two.theirs, UNKNOWN) == unknown.text, route
        assert sorted(answer.headers) == sorted(unknown.headers), route
    for route in ADMINS:
        assert error_of(await ask(mesh, route, two.theirs, key)) == (403, "SCOPE_MISSING"), route
    for route in CREATES:
        assert error_of(await ask(mesh, route, two.theirs, key)) == (403, "COLLECTION_NOT_ALLOWED"), route
    for route in LISTS:
        answer = await ask(mesh, route, two.theirs, key)
        assert answer.status_code == 200, route
        assert two.theirs not in answer.text, route
        assert "theirs" not in answer.text, route
    still = (await mesh.http.get(f"/videos/{two.theirs}", headers=bearer(two.their_key))).json()
    assert (still["title"], still["status"], still["transcript_revision"]) == ("A talk of theirs", "ready", 0)


async def test_what_is_ones_own_is_there(two: Two) -> None:
    mesh, key = two.mesh, two.my_key
    found = (await ask(mesh, ("GET", "/search"), two.mine, key)).json()
    assert [hit["video_id"] for hit in found["hits"]] == [two.mine]
    listed = (await ask(mesh, ("GET", "/videos"), two.mine, key)).json()
    assert [video["video_id"] for video in listed["videos"]] == [two.mine]
    for path in ("", "/status", "/events", "/transcript", "/transcript?format=vtt", "/media"):
        answer = await mesh.http.get(f"/videos/{two.mine}{path}", headers=bearer(key))
        assert answer.status_code == 200, path
    everything = (await ask(mesh, ("GET", "/videos"), two.mine, ADMIN_KEY)).json()
    assert {video["video_id"] for video in everything["videos"]} == {two.mine, two.theirs}


# ── search ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "told", "found"),
    [
        ([], ["mine"], True),
        (["mine"], ["mine"], True),
        (["mine", "theirs"], ["mine"], True),
        (["theirs"], ["/"], False),
        (["nobodys"], ["/"], False),
    ],
)
async def test_the_shards_are_told_what_a_key_sees(two: Two, asked: list[str], told: list[str], found: bool) -> None:
    params: dict[str, Any] = {"q": SECRET_WORDS, "collection": asked}
    answer = await two.mesh.http.get("/search", params=params, headers=bearer(two.my_key))
    assert [hit["video_id"] for hit in answer.json()["hits"]] == ([two.mine] if found else [])
    assert answer.json()["coverage"]["complete"] is True
    for shard in two.mesh.shards:
        assert shard.last_request is not None
        assert list(shard.last_request.filter.collections) == told


async def test_naming_a_video_of_others_finds_nothing(two: Two) -> None:
    params = {"q": SECRET_WORDS, "video_id": two.theirs}
    answer = await two.mesh.http.get("/search", params=params, headers=bearer(two.my_key))
    assert answer.json()["hits"] == []


async def test_a_cursor_of_another_key_is_refused(two: Two) -> None:
    for number in range(3):
        video_id = f"vid_{number:026d}"
        two.mesh.index(chunk(video_id, 0, SECRET_WORDS))
        for shard in two.mesh.shards:
            shard.videos[video_id] = shard_pb.IndexedVideo(video_id=video_id, collection="theirs")
    params: dict[str, Any] = {"q": SECRET_WORDS, "limit": 1}
    page = (await two.mesh.http.get("/search", params=params, headers=bearer(two.their_key))).json()
    params["cursor"] = page["next_cursor"]
    assert page["next_cursor"]
    assert error_of(await two.mesh.http.get("/search", params=params, headers=bearer(two.my_key)))[0] == 400


# ── gRPC ─────────────────────────────────────────────────────────────────────────────────────────

SERVICES: list[ServiceDescriptor] = [
    service
    for module in (video_service_pb2, transcript_service_pb2, search_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
SAID: dict[str, dict[str, Any]] = {
    "CreateVideo": {"video": {"uri": "https://1.1.1.1/a.mp4", "collection": "theirs"}},
    "ImportVideo": {"video": {"title": "x", "collection": "theirs"}, "segments": [{"text": "x"}]},
    "UpdateVideo": {"title": "Taken over"},
    "UpdateSegment": {"segment_id": "00000.0", "text": "x"},
    "PutTranscript": {"segments": {"segments": [{"text": "x", "end_offset": "1s"}]}},
    "GetCaptions": {"format": "CAPTION_FORMAT_VTT"},
    "Search": {"query": SECRET_WORDS},
}


async def call(mesh: Gateway, method: MethodDescriptor, video_id: str, key: str = "") -> Any:
    """Calls a method on a video and gives its answer, or the first of them."""
    from google.protobuf.json_format import ParseDict

    kind, answers = (message_factory.GetMessageClass(each) for each in (method.input_type, method.output_type))
    fields = dict(SAID.get(method.name, {}))
    if "video_id" in method.input_type.fields_by_name:
        fields["video_id"] = video_id
    request = ParseDict(fields, kind())
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    name = f"/{method.containing_service.full_name}/{method.name}"
    codecs: dict[str, Any] = {
        "request_serializer": kind.SerializeToString,
        "response_deserializer": answers.FromString,
    }

    async def requests() -> AsyncIterator[Any]:
        yield request

    if method.client_streaming:
        return await mesh.channel.stream_unary(name, **codecs)(requests(), metadata=metadata)
    if method.server_streaming:
        async for answer in mesh.channel.unary_stream(name, **codecs)(request, metadata=metadata):
            return answer
        return None
    return await mesh.channel.unary_unary(name, **codecs)(request, metadata=metadata)


async def refusal(mesh: Gateway, method: MethodDescriptor, video_id: str, key: str = "") -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(mesh, method, video_id, key)
    status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code().name, info.reason, str(caught.value.details())


async def test_no_call_is_answered_without_a_key(two: Two) -> None:
    for method in METHODS:
        assert (await refusal(two.mesh, method, two.theirs))[:2] == ("UNAUTHENTICATED", "KEY_REQUIRED"), method.name
        wrong = f"earmark_key{'0' * 16}_{'A' * 43}"
        assert (await refusal(two.mesh, method, two.theirs, wrong))[:2] == ("UNAUTHENTICATED", "KEY_INVALID")


async def test_no_call_gives_what_is_of_others(two: Two) -> None:
    for method in METHODS:
        if method.name in {"Search", "ListVideos"}:
            said = str(await call(two.mesh, method, two.theirs, two.my_key))
            assert two.mine in said
            assert two.theirs not in said
        elif method.name in {"CreateVideo", "ImportVideo"}:
            told = await refusal(two.mesh, method, two.theirs, two.my_key)
            assert told[:2] == ("PERMISSION_DENIED", "COLLECTION_NOT_ALLOWED"), method.name
        else:
            told = await refusal(two.mesh, method, two.theirs, two.my_key)
            assert told[:2] == ("NOT_FOUND", "VIDEO_NOT_FOUND"), method.name
            unknown = await refusal(two.mesh, method, UNKNOWN, two.my_key)
            assert told[2].replace(two.theirs, UNKNOWN) == unknown[2], method.name


async def test_a_key_calls_what_is_its_own(two: Two) -> None:
    names = {"GetVideo", "WatchVideo", "GetTranscript", "GetCaptions", "UpdateVideo"}
    for method in METHODS:
        if method.name in names:
            assert await call(two.mesh, method, two.mine, two.my_key), method.name


# ── scopes, collections ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"GET"}),
        (["upload"], {"CREATE"}),
        (["read", "upload"], {"GET", "CREATE", "CHANGE"}),
        (["admin"], {"GET", "CREATE", "CHANGE"}),
    ],
)
async def test_a_key_does_what_its_scopes_say(two: Two, scopes: list[str], allowed: set[str]) -> None:
    collections = None if "admin" in scopes else ["theirs"]
    key = (await make_key(two.mesh, scopes=scopes, collections=collections))["key"]
    # Reading first: a change makes the video processed anew, and its event stream go on.
    for route in sorted(set(BODIES) - ADMINS - ANY_KEY - {("DELETE", "/videos/{video_id}")}):
        kind = "CREATE" if route in CREATES | UPLOADING else "GET" if route[0] in {"GET", "HEAD"} else "CHANGE"
        answer = await ask(two.mesh, route, two.theirs, key)
        assert (answer.status_code != 403) == (kind in allowed), (route, answer.status_code)
        assert answer.status_code != 401, route
        assert (answer.status_code == 404) == (route in UPLOADING and kind in allowed), route


async def test_an_upload_that_names_no_collection_comes_into_that_of_its_key(two: Two) -> None:
    key = (await make_key(two.mesh, scopes=["upload"], collections=["a", "b"], default_collection="b"))["key"]
    assert (await upload(two.mesh, key)).json()["collection"] == "b"
    assert (await upload(two.mesh, key, collection="a")).json()["collection"] == "a"
    assert (await upload(two.mesh, two.my_key)).json()["collection"] == "mine"
    assert (await upload(two.mesh, ADMIN_KEY)).json()["collection"] is None


@pytest.mark.parametrize("to", ["theirs", "nobodys"])
async def test_a_video_is_not_moved_out_of_the_collections_of_a_key(two: Two, to: str) -> None:
    path, headers = f"/videos/{two.mine}", bearer(two.my_key)
    refused = await two.mesh.http.patch(path, json={"collection": to}, headers=headers)
    assert error_of(refused) == (403, "COLLECTION_NOT_ALLOWED")
    kept = await two.mesh.http.patch(path, json={"collection": ""}, headers=headers)
    assert kept.json()["collection"] == "mine"
    moved = await two.mesh.http.patch(path, json={"collection": to}, headers=bearer(ADMIN_KEY))
    assert moved.json()["collection"] == to
    assert (await two.mesh.http.get(path, headers=headers)).status_code == 404


async def test_importers_names_are_each_tenants_own(two: Two) -> None:
    body = {"title": "x", "external_id": "talks/17", "segments": [{"start": 0, "end": 1, "text": "x"}]}
    seen = []
    for key in (two.my_key, two.their_key, two.my_key, two.their_key):
        answer = await two.mesh.http.post("/videos/import", json=body, headers=bearer(key))
        seen.append((answer.status_code, answer.json()["video_id"]))
    assert [code for code, _ in seen] == [202, 202, 200, 200]
    assert seen[0][1] == seen[2][1] != seen[1][1] == seen[3][1]


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


async def test_keys_are_made_shown_once_and_revoked(two: Two) -> None:
    mesh, admin = two.mesh, bearer(ADMIN_KEY)
    made = await make_key(mesh, name="Ann's", scopes=["read"], collections=["mine"], expires_in_days=1)
    text, key_id = made.pop("key"), made["key_id"]
    secret = text.removeprefix(f"earmark_{key_id}_")
    assert len(secret) == 43
    assert (await mesh.http.get(f"/keys/{key_id}", headers=admin)).json() == made
    listing = (await mesh.http.get("/keys", params={"limit": 1}, headers=admin)).json()
    assert (listing["keys"], bool(listing["next_cursor"])) == ([made], True)
    after = {"cursor": listing["next_cursor"]}
    assert len((await mesh.http.get("/keys", params=after, headers=admin)).json()["keys"]) == 2
    stored = await mesh.backbone.database["api_keys"].find_one({"_id": key_id})
    assert secret not in str(stored)
    assert re.fullmatch(r"[0-9a-f]{64}", stored["digest"])

    own = (await mesh.http.get("/keys/self", headers=bearer(text))).json()
    assert own == {"key_id": key_id, "scopes": ["read"], "collections": ["mine"], "default_collection": "mine"}
    revoked = (await mesh.http.delete(f"/keys/{key_id}", headers=admin)).json()
    assert (revoked["holds"], bool(revoked["revoked_at"])) == (False, True)
    assert error_of(await mesh.http.get("/keys/self", headers=bearer(text))) == (401, "KEY_INVALID")
    assert error_of(await mesh.http.get("/keys/nobody", headers=admin)) == (404, "KEY_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"collections": []}, "collections"),
        ({"collections": ["a b"]}, "collection"),
        ({"scopes": ["admin"], "collections": ["a"]}, "collections"),
        ({"collections": ["a"], "default_collection": "b"}, "default_collection"),
        ({"requests_per_second": 0}, "requests_per_second"),
        ({"bytes_per_day": -1}, "bytes_per_day"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"name": " "}, "name"),
        ({"quota": 3}, "quota"),
    ],
)
async def test_a_wrong_key_is_refused(mesh: Gateway, fields: dict[str, Any], field: str) -> None:
    answer = await mesh.http.post("/keys", json={"name": "x", **fields}, headers=bearer(ADMIN_KEY))
    assert error_of(answer) == (400, "INVALID_ARGUMENT")
    assert answer.json()["error"]["details"][1]["field"] == field


async def test_a_key_that_calls_too_often_is_told_when_to_come_again(two: Two) -> None:
    key = (await make_key(two.mesh, requests_per_second=0.1))["key"]
    assert (await two.mesh.http.get("/videos", headers=bearer(key))).status_code == 200
    answer = await two.mesh.http.get("/videos", headers=bearer(key))
    assert error_of(answer) == (429, "RATE_LIMITED")
    assert 8 <= int(answer.headers["retry-after"]) <= 10
    listing = next(method for method in METHODS if method.name == "ListVideos")
    assert (await refusal(two.mesh, listing, "", key))[:2] == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")


@pytest.mark.parametrize("limit", [{"videos_per_day": 1}, {"bytes_per_day": 150}])
async def test_a_key_puts_in_no_more_than_its_quota(two: Two, limit: dict[str, int]) -> None:
    mesh = two.mesh
    key = (await make_key(mesh, scopes=["upload"], collections=["mine"], **limit))["key"]
    before = (await mesh.http.get("/videos", headers=bearer(two.my_key))).json()["videos"]
    assert (await upload(mesh, key, data=b"x" * 100)).status_code == 202
    answer = await upload(mesh, key, data=b"x" * 100)
    assert error_of(answer) == (429, "QUOTA_EXCEEDED")
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400
    after = (await mesh.http.get("/videos", headers=bearer(two.my_key))).json()["videos"]
    assert len(after) == len(before) + 1
    stored = [key async for key in _keys_of(mesh) if key.endswith("/media")]
    assert len(stored) == 3, "what was refused is not kept"


async def _keys_of(mesh: Gateway) -> AsyncIterator[str]:
    from pathlib import Path
    from urllib.parse import urlsplit

    root = Path(urlsplit(mesh.settings.object_store_url).path)
    for path in root.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(root))


# ── signed URLs ──────────────────────────────────────────────────────────────────────────────────


async def test_links_can_be_followed_without_the_key(two: Two) -> None:
    links = (await two.mesh.http.get(f"/videos/{two.mine}", headers=bearer(two.my_key))).json()["links"]
    for name in ("media", "transcript", "events"):
        assert (await two.mesh.http.get(links[name])).status_code == 200, name
        assert (await two.mesh.http.get(f"/videos/{two.mine}/{name}")).status_code == 401, name
    assert (await two.mesh.http.get(f"{links['transcript']}&format=vtt")).text.startswith("WEBVTT")
    ranged = await two.mesh.http.get(links["media"], headers={"Range": "bytes=0-1"})
    assert (ranged.status_code, ranged.content) == (206, b"me")
    hit = (await ask(two.mesh, ("GET", "/search"), two.mine, two.my_key)).json()["hits"][0]
    assert (await two.mesh.http.get(hit["links"]["media"])).status_code == 200


async def test_a_link_is_good_for_one_path_and_for_reading(two: Two) -> None:
    links = (await two.mesh.http.get(f"/videos/{two.mine}", headers=bearer(two.my_key))).json()["links"]
    path, _, query = links["transcript"].partition("?")
    for other in (links["media"].partition("?")[0], f"/videos/{two.theirs}/transcript", "/videos", "/keys"):
        assert error_of(await two.mesh.http.get(f"{other}?{query}")) == (401, "SIGNATURE_INVALID"), other
    for method in ("PUT", "DELETE", "PATCH", "POST"):
        assert (await two.mesh.http.request(method, f"{path}?{query}")).status_code == 401
    later = re.sub(r"expires=\d+", "expires=99999999999", query)
    assert error_of(await two.mesh.http.get(f"{path}?{later}")) == (401, "SIGNATURE_INVALID")
    assert error_of(await two.mesh.http.get(f"{path}?{query[:-1]}é")) == (401, "SIGNATURE_INVALID")


async def test_a_link_ends_with_its_key(two: Two) -> None:
    made = await make_key(two.mesh, collections=["mine"])
    links = (await two.mesh.http.get(f"/videos/{two.mine}", headers=bearer(made["key"]))).json()["links"]
    assert (await two.mesh.http.get(links["media"])).status_code == 200
    await two.mesh.http.delete(f"/keys/{made['key_id']}", headers=bearer(ADMIN_KEY))
    assert error_of(await two.mesh.http.get(links["media"])) == (401, "KEY_INVALID")


async def test_what_is_for_everybody_says_nothing_of_anybody(two: Two) -> None:
    for path in ("/", "/library", "/ops", f"/v/{two.theirs}", "/docs", "/openapi.json", "/healthz", "/web/icon.svg"):
        answer = await two.mesh.http.get(path)
        assert answer.status_code == 200, path
    assert (await two.mesh.http.get("/readyz")).json()["checks"] == {}
    assert "mongo" in (await two.mesh.http.get("/readyz", headers=bearer(ADMIN_KEY))).json()["checks"]
