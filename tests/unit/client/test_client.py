"""The clients against a gateway of canned answers. What both share is proved once, on both."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.parser
import email.policy
import inspect
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import pytest

from earmark import client as api
from earmark.client import AsyncClient, Client
from earmark.client.index import AsyncIndex, Index
from earmark.client.keys import AsyncKeys, Keys
from tests.unit.client.fake_gateway import FakeGateway, Handler, Stream, refusal, status, video

Ask = Callable[[str, FakeGateway], Any]


class Both:
    """Runs a method of the sync or of the async client and gives what it gives; iterators as lists.

    A method of a part of the client is named with it, as `keys.create`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, handler: Handler, method: str, *args: Any, **options: Any) -> tuple[Any, FakeGateway]:
        gateway = FakeGateway(handler)
        if self._kind == "sync":
            with Client("http://mesh/", transport=gateway) as client:
                answer = attrgetter(method)(client)(*args, **options)
                return (list(answer) if isinstance(answer, Iterator) else answer), gateway
        return asyncio.run(self._async(gateway, method, *args, **options)), gateway

    async def _async(self, gateway: FakeGateway, method: str, *args: Any, **options: Any) -> Any:
        async with AsyncClient("http://mesh/", transport=gateway) as client:
            answer = attrgetter(method)(client)(*args, **options)
            return [item async for item in answer] if isinstance(answer, AsyncIterator) else await answer


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


def answering(value: Any, code: int = 200) -> Handler:
    return lambda request, body: httpx.Response(code, json=value)


def fields(request: httpx.Request, body: bytes) -> dict[str, tuple[str | None, bytes]]:
    """The parts of a multipart body: name -> (filename, content)."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    found = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = (part.get_filename(), part.get_payload(decode=True))
    return found


def test_video_is_typed_and_its_links_absolute(both: Both) -> None:
    found, gateway = both(answering(video()), "get", "vid_1")
    assert (found.title, found.duration, found.source.sha256, found.progress.fraction) == ("Tides", 61.5, "ab", 0.5)
    assert found.metadata.uploaded_at.year == 2025
    assert found.links["self"] == "http://mesh/v1/videos/vid_1"
    assert gateway.requests[0].url == "http://mesh/v1/videos/vid_1"


def test_upload_streams_title_and_file_with_its_length(both: Both, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000  # over one block
    path = tmp_path / 'a "talk".mp4'
    path.write_bytes(content)
    told: list[tuple[int, int]] = []
    found, gateway = both(
        answering(video(status="uploaded"), 202),
        "upload",
        path,
        title="Ebb & flow — 潮",
        progress=lambda sent, total: told.append((sent, total)),
    )
    request, body = gateway.requests[0], gateway.bodies[0]
    assert found.status == "uploaded"
    assert int(request.headers["content-length"]) == len(body)
    parts = fields(request, body)
    assert list(parts) == ["title", "file"]  # the title first: the gateway reads as it comes
    assert parts["title"][1].decode() == "Ebb & flow — 潮"
    assert parts["file"][1] == content
    assert b'filename="a %22talk%22.mp4"' in body
    assert told[0] == (0, len(content))
    assert told[-1] == (len(content), len(content))
    assert [sent for sent, _ in told] == sorted({sent for sent, _ in told})


def test_upload_of_a_file_object_starts_at_its_position(both: Both) -> None:
    file = io.BytesIO(b"skipped" + b"sent")
    file.seek(7)
    _, gateway = both(answering(video(), 202), "upload", file, filename="x.wav")
    assert fields(gateway.requests[0], gateway.bodies[0])["file"] == ("x.wav", b"sent")


def test_list_follows_the_cursors(both: Both) -> None:
    def pages(request: httpx.Request, body: bytes) -> httpx.Response:
        assert request.url.params["status"] == "ready"
        cursor = request.url.params.get("cursor")
        following = {None: "b", "b": "c", "c": None}[cursor]
        return httpx.Response(200, json={"videos": [video(f"vid_{cursor}")], "next_cursor": following})

    found, gateway = both(pages, "list", status="ready", page_size=1)
    assert [v.video_id for v in found] == ["vid_None", "vid_b", "vid_c"]
    assert len(gateway.requests) == 3


def test_search_sends_its_options_and_reads_the_answer(both: Both) -> None:
    hit = {
        "video_id": "vid_1",
        "title": "Tides",
        "language": "en",
        "chunk_id": "vid_1/00000/0000",
        "text": "the moon pulls",
        "highlights": [{"start": 4, "end": 8}],
        "start_time": 10.0,
        "end_time": 40.0,
        "match_time": 12.5,
        "sentence": {"start": 0, "end": 14},
        "score": 0.03,
        "scores": {"semantic": {"score": 0.8, "rank": 1}, "keyword": None},
        "links": {"page": "/v/vid_1?t=12"},
    }
    answer = {
        "query": "moon",
        "mode": "semantic",
        "hits": [{**hit, "more": [hit]}],
        "next_cursor": None,
        "coverage": {
            "shards_total": 2,
            "shards_answered": 1,
            "complete": False,
            "legs": ["semantic"],
            "embedding_model": "m",
            "missing": [{"shard": 1, "reason": "UNAVAILABLE"}],
            "replicas": [{"shard": 0, "replica": 1, "applied_sequence": 41, "lag": 2}],
            "tokens_reached": False,
        },
        "timing": {"total_ms": 3.5, "embed_ms": 2, "shards_ms": 1, "fuse_ms": 0.5},
    }
    found, gateway = both(
        answering(answer), "search", "moon & sun", limit=3, video_ids=["vid_1", "vid_2"], language="en", mode="semantic"
    )
    assert gateway.requests[0].url.params.multi_items() == [
        ("q", "moon & sun"),
        ("limit", "3"),
        ("mode", "semantic"),
        ("video_id", "vid_1"),
        ("video_id", "vid_2"),
        ("language", "en"),
    ]
    best = found.hits[0]
    assert (best.match_time, best.semantic.rank, best.keyword) == (12.5, 1, None)
    assert best.text[best.highlights[0].start : best.highlights[0].end] == "moon"
    assert best.sentence is not None
    assert best.text[best.sentence.start : best.sentence.end] == "the moon pulls"
    assert best.links["page"] == "http://mesh/v/vid_1?t=12"
    assert best.more[0].chunk_id == "vid_1/00000/0000"
    assert (found.coverage.complete, found.coverage.missing[0].reason) == (False, "UNAVAILABLE")
    assert found.coverage.replicas == (api.ReplicaCoverage(shard=0, replica=1, applied_sequence=41, lag=2),)
    assert found.coverage.tokens_reached is False
    assert found.timing.total_ms == 3.5


def test_search_filters_are_sent_as_the_gateway_names_them(both: Both) -> None:
    answer = {"query": "x", "mode": "hybrid", "hits": [], "coverage": {}, "timing": {}}
    _, gateway = both(
        answering(answer),
        "search",
        "x",
        collections=["talks"],
        speakers=["Ada", "Bob"],
        tags=["bread"],
        uploaded_since=dt.date(2026, 11, 1),
        uploaded_before=dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
        min_duration=0,
        max_duration=90.5,
        min_tokens=["ix1-3f-1"],
        language=None,
    )
    assert gateway.requests[0].url.params.multi_items()[3:] == [
        ("collection", "talks"),
        ("speaker", "Ada"),
        ("speaker", "Bob"),
        ("tag", "bread"),
        ("uploaded_since", "2026-11-01"),
        ("uploaded_before", "2026-12-01T00:00:00+00:00"),
        ("min_duration", "0"),
        ("max_duration", "90.5"),
        ("min_token", "ix1-3f-1"),
    ]
    with pytest.raises(TypeError, match="give a list"):
        both(answering(answer), "search", "x", tags="bread")


def test_a_video_carries_its_receipt(both: Both) -> None:
    found, _ = both(answering({**video(), "index_token": "ix1-3f-1", "tags": ["a"]}), "get", "vid_1")
    assert (found.index_token, found.tags) == ("ix1-3f-1", ("a",))


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (400, "INVALID_ARGUMENT", api.InvalidRequest),
        (413, "INVALID_ARGUMENT", api.InvalidRequest),
        (403, "PERMISSION_DENIED", api.PermissionDenied),
        (404, "NOT_FOUND", api.NotFound),
        (409, "FAILED_PRECONDITION", api.Conflict),
        (429, "RESOURCE_EXHAUSTED", api.Overloaded),
        (503, "UNAVAILABLE", api.Unavailable),
        (504, "DEADLINE_EXCEEDED", api.Timeout),
        (500, "INTERNAL", api.Internal),
    ],
)
def test_refusal_becomes_its_error(both: Both, code: int, name: str, kind: type[api.ApiError]) -> None:
    def refuse(request: httpx.Request, body: bytes) -> httpx.Response:
        reason = {"reason": "SOME_REASON", "domain": "earmark", "metadata": {"video_id": "vid_1"}}
        answer = refusal(code, name, "Do this.", reason, {"field": "q", "description": "is empty"})
        answer.headers["retry-after"] = "2"
        return answer

    with pytest.raises(kind) as caught:
        both(refuse, "get", "vid_1")
    error = caught.value
    assert type(error) is kind
    assert (error.message, error.reason, error.status, error.http_status) == ("Do this.", "SOME_REASON", name, code)
    assert error.metadata == {"video_id": "vid_1"}
    assert error.violations == (api.FieldViolation("q", "is empty"),)
    assert error.retry_after == 2


@pytest.mark.parametrize("code", [200, 404, 500])
def test_other_servers_are_recognised(both: Both, code: int) -> None:
    with pytest.raises(api.ProtocolError, match="http://mesh/v1/videos/vid_1"):
        both(lambda request, body: httpx.Response(code, html="<h1>nginx</h1>"), "get", "vid_1")


def test_nothing_listening_is_connection_failed(both: Both) -> None:
    def refuse(request: httpx.Request, body: bytes) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(api.ConnectionFailed, match="No Earmark gateway answers at http://mesh"):
        both(refuse, "is_ready")


def test_unready_mesh_is_not_an_error(both: Both) -> None:
    assert both(lambda request, body: refusal(503, "UNAVAILABLE", "no shard"), "is_ready")[0] is False
    assert both(lambda request, body: httpx.Response(200, json={}), "is_ready")[0] is True


def test_video_id_cannot_leave_its_place_in_the_path(both: Both) -> None:
    _, gateway = both(answering(video()), "get", "../admin?x=1")
    assert gateway.requests[0].url.raw_path == b"/v1/videos/..%2Fadmin%3Fx%3D1"


def event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"


def scripted(*answers: httpx.Response | Exception) -> Handler:
    """Answers one after the other; an exception is raised."""
    left = list(answers)

    def answer(request: httpx.Request, body: bytes) -> httpx.Response:
        following = left.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    return answer


def events(*pieces: str, breaks: bool = False) -> httpx.Response:
    return httpx.Response(200, stream=Stream(*pieces, breaks=breaks))


def test_watch_gives_every_change_until_the_end(both: Both) -> None:
    whole = (
        event("status", status("processing")) + ": keep-alive\n\n" + event("status", status("ready")) + event("end", {})
    )
    half = len(whole) // 2  # pieces do not respect events
    found, gateway = both(scripted(events(whole[:half], whole[half:])), "watch", "vid_1")
    assert [s.status for s in found] == ["processing", "ready"]
    assert gateway.requests[0].url.path == "/v1/videos/vid_1/events"


def test_watch_connects_again_and_repeats_nothing(both: Both) -> None:
    handler = scripted(
        events(event("status", status("processing")), breaks=True),
        httpx.ConnectError("refused"),
        refusal(503, "UNAVAILABLE", "starting"),
        events(event("status", status("processing"))),  # closed without a word
        events(event("status", status("processing")) + event("status", status("ready")) + event("end", {})),
    )
    found, gateway = both(handler, "watch", "vid_1")
    assert [s.status for s in found] == ["processing", "ready"]
    assert len(gateway.requests) == 5


def test_watch_of_a_settled_video_needs_no_end_event(both: Both) -> None:
    found, gateway = both(scripted(events(event("status", status("failed")), breaks=True)), "watch", "vid_1")
    assert [s.status for s in found] == ["failed"]
    assert len(gateway.requests) == 1


def test_watch_of_a_video_that_goes_away_ends(both: Both) -> None:
    handler = scripted(
        events(event("status", status("deleting")), breaks=True), refusal(404, "NOT_FOUND", "No such video.")
    )
    assert [s.status for s in both(handler, "watch", "vid_1")[0]] == ["deleting"]


def test_watch_of_an_unknown_video_raises_at_once(both: Both) -> None:
    with pytest.raises(api.NotFound):
        both(scripted(refusal(404, "NOT_FOUND", "No such video.")), "watch", "vid_1")


def test_watch_gives_up_when_its_patience_ends(both: Both) -> None:
    def answer(request: httpx.Request, body: bytes) -> httpx.Response:
        if len(gateway_requests) == 0:
            gateway_requests.append(request)
            return events(event("status", status("processing")), breaks=True)
        raise httpx.ConnectError("refused")

    gateway_requests: list[httpx.Request] = []
    with pytest.raises(api.ConnectionFailed):
        both(answer, "watch", "vid_1", patience=0.1)


def test_upload_sends_collection_and_each_tag(both: Both) -> None:
    _, gateway = both(
        answering(video(), 202), "upload", io.BytesIO(b"x"), filename="x.wav", collection="talks", tags=["a", "ü"]
    )
    body = gateway.bodies[0]
    assert body.count(b'name="tag"') == 2
    assert b'name="title"' not in body
    parts = fields(gateway.requests[0], body)
    assert (parts["collection"][1], parts["tag"][1].decode()) == (b"talks", "ü")


def test_upload_sends_what_is_known_of_the_speech_before_the_file(both: Both) -> None:
    _, gateway = both(
        answering(video(), 202),
        "upload",
        io.BytesIO(b"x"),
        language="de",
        prompt="Über Brot.",
        hotwords="",
        task="translate",
        captions=b"WEBVTT\n\xff",
    )
    parts = fields(gateway.requests[0], gateway.bodies[0])
    assert list(parts) == ["language", "prompt", "task", "captions", "file"]
    assert (parts["prompt"][1].decode(), parts["captions"][1]) == ("Über Brot.", b"WEBVTT\n\xff")
    assert int(gateway.requests[0].headers["content-length"]) == len(gateway.bodies[0])
    _, gateway = both(answering(video(), 202), "upload", io.BytesIO(b"x"), captions="")
    assert list(fields(gateway.requests[0], gateway.bodies[0])) == ["captions", "file"]  # for the gateway to refuse
    with pytest.raises(TypeError, match="promt"):
        both(answering(video(), 202), "upload", io.BytesIO(b"x"), promt="x")


def test_add_by_url_sends_only_what_is_given(both: Both) -> None:
    _, gateway = both(
        answering(video(), 202), "create_from_url", "https://x/y", tags=["a"], hotwords="Stückgare", language=""
    )
    assert json.loads(gateway.bodies[0]) == {"url": "https://x/y", "tags": ["a"], "hotwords": "Stückgare"}


@pytest.mark.parametrize(("code", "already_there"), [(202, False), (200, True)])
def test_import_sends_the_lines_and_tells_whether_it_was_there(both: Both, code: int, already_there: bool) -> None:
    lines = [api.TranscriptLine(0.0, 2.5, "Hello."), api.TranscriptLine(2.5, 3.0, "Hi.", "Ann")]
    found, gateway = both(
        answering(video(collection="talks", tags=["a"]), code), "import_transcript", "Talk", lines, duration=9.0
    )
    assert (found.video.video_id, found.already_there) == ("vid_1", already_there)
    assert (found.video.collection, found.video.tags) == ("talks", ("a",))
    assert gateway.requests[0].url.path == "/v1/videos/import"
    assert json.loads(gateway.bodies[0]) == {
        "title": "Talk",
        "duration": 9.0,
        "segments": [
            {"start": 0.0, "end": 2.5, "text": "Hello."},
            {"start": 2.5, "end": 3.0, "text": "Hi.", "speaker": "Ann"},
        ],
    }


def test_update_sends_what_changes_and_nothing_else(both: Both) -> None:
    _, gateway = both(answering(video()), "update_video", "vid_1", collection="", tags=())
    assert (gateway.requests[0].method, gateway.requests[0].url.path) == ("PATCH", "/v1/videos/vid_1")
    assert json.loads(gateway.bodies[0]) == {"collection": "", "tags": []}


def test_a_transcript_is_asked_for_with_what_is_wanted_of_it(both: Both) -> None:
    answer = {"video_id": "vid_1", "language": "en", "complete": True, "revision": 2, "segments": []}
    found, gateway = both(answering(answer), "transcript", "vid_1", suspect="exclude", original=True)
    assert (found.revision, found.complete) == (2, True)
    assert dict(gateway.requests[0].url.params) == {"format": "json", "original": "true", "suspect": "exclude"}
    _, gateway = both(answering(answer), "captions", "vid_1", "vtt", words=True, suspect="include")
    assert dict(gateway.requests[0].url.params) == {"format": "vtt", "words": "true", "suspect": "include"}


def test_a_transcript_is_put_in_its_form_with_the_revision_it_was_made_of(both: Both) -> None:
    _, gateway = both(answering(video()), "put_transcript", "vid_1", "WEBVTT\n", "vtt", revision=3)
    request = gateway.requests[0]
    assert (request.method, request.url.path, gateway.bodies[0]) == ("PUT", "/v1/videos/vid_1/transcript", b"WEBVTT\n")
    assert (request.headers["content-type"], request.headers["if-match"]) == ("text/vtt", '"3"')


def test_a_segment_is_corrected(both: Both) -> None:
    shown = {"segment_id": "00001.4", "start": 1.0, "end": 2.0, "text": "Hi.", "words": [], "suspect": "marked"}
    answer = {"video_id": "vid_1", "revision": 4, "status": "processing", "segment": shown}
    result, gateway = both(answering(answer), "edit_segment", "vid_1", "00001.4", text="Hi.", suspect=False)
    request = gateway.requests[0]
    assert (request.method, request.url.path) == ("PATCH", "/v1/videos/vid_1/transcript/segments/00001.4")
    assert "if-match" not in request.headers
    assert json.loads(gateway.bodies[0]) == {"text": "Hi.", "suspect": False}
    assert (result.revision, result.segment.segment_id, result.segment.suspect) == (4, "00001.4", "marked")


@pytest.mark.parametrize(
    ("given", "environment", "sent"),
    [
        (None, None, None),
        (None, "earmark_env", "Bearer earmark_env"),
        ("earmark_mine", "earmark_env", "Bearer earmark_mine"),
        ("", "earmark_env", None),
    ],
)
def test_a_key_is_sent_with_every_request(
    given: str | None, environment: str | None, sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARMARK_API_KEY", raising=False)
    if environment:
        monkeypatch.setenv("EARMARK_API_KEY", environment)

    async def ask(gateway: FakeGateway) -> None:
        async with AsyncClient("http://mesh/", key=given, transport=gateway) as client:
            await client.get("vid_1")

    gateway = FakeGateway(answering(video()))
    with Client("http://mesh/", key=given, transport=gateway) as client:
        client.get("vid_1")
    asyncio.run(ask(gateway))
    assert [request.headers.get("authorization") for request in gateway.requests] == [sent, sent]


def test_a_video_says_what_players_are_given() -> None:
    data = {"video_id": "vid_a", "status": "ready", "playable": "failed", "playable_message": "It is damaged."}
    video = api.Video.parse({**data, "links": {"thumbnail": "/v1/videos/vid_a/thumbnail"}}, "http://mesh")
    assert (video.playable, video.playable_message) == ("failed", "It is damaged.")
    assert video.links["thumbnail"] == "http://mesh/v1/videos/vid_a/thumbnail"
    assert api.Video.parse({"video_id": "vid_a", "status": "ready", "playable": None}).playable == ""


def public(kind: type) -> dict[str, Any]:
    """The public names of a class: the parameters of its methods (names, kinds, defaults), None for anything else."""
    members = {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_")}
    return {
        name: [(one.name, one.kind, one.default) for one in inspect.signature(member).parameters.values()]
        if callable(member)
        else None
        for name, member in members.items()
    }


@pytest.mark.parametrize(("ordinary", "awaited"), [(Client, AsyncClient), (Keys, AsyncKeys), (Index, AsyncIndex)])
def test_the_async_client_has_all_that_the_other_has(ordinary: type, awaited: type) -> None:
    assert public(awaited) == public(ordinary)


def test_every_part_of_the_client_is_compared() -> None:
    parts = {name for name, parameters in public(Client).items() if parameters is None}
    assert parts == {"keys", "index"}


def key(key_id: str) -> dict[str, Any]:
    """A key as the gateway describes it."""
    return {
        "key_id": key_id,
        "name": "Ada",
        "scopes": ["read"],
        "collections": None,
        "created_at": "2026-11-01T00:00:00Z",
        "holds": True,
    }


def test_a_key_is_made_listed_and_revoked(both: Both) -> None:
    options = {"scopes": ("upload",), "collections": {"a"}, "bytes_per_day": 5}
    made, gateway = both(answering({**key("key_1"), "key": "earmark_secret"}), "keys.create", "Ada", **options)
    assert (made.key.key_id, made.text) == ("key_1", "earmark_secret")
    assert gateway.requests[0].url.path == "/v1/keys"
    assert json.loads(gateway.bodies[0]) == {
        "name": "Ada",
        "scopes": ["upload"],
        "collections": ["a"],
        "bytes_per_day": 5,
    }

    def pages(request: httpx.Request, body: bytes) -> httpx.Response:
        last = request.url.params.get("cursor") == "c1"
        shown = key("key_2" if last else "key_1")
        return httpx.Response(200, json={"keys": [shown], "next_cursor": None if last else "c1"})

    found, _ = both(pages, "keys.list", page_size=1)
    assert [one.key_id for one in found] == ["key_1", "key_2"]
    revoked, gateway = both(answering(key("key_1")), "keys.revoke", "key_1")
    assert (revoked.key_id, gateway.requests[0].method) == ("key_1", "DELETE")


def test_the_index_is_planned_moved_and_rebuilt(both: Both) -> None:
    plan = {"shards": 3, "slots": 2, "chunks": None, "before": [], "after": [{"shard": 0, "slots": 2, "chunks": 9}]}
    for method, arguments, path, body in (
        ("index.plan", {"shards": 3}, "/v1/shards/plan", {"shards": 3}),
        ("index.plan", {"moves": [((1, 2), 0)]}, "/v1/shards/plan", {"moves": [{"slots": [1, 2], "to": 0}]}),
        ("index.move", {"slots": (1, 2), "to": 0}, "/v1/shards/move", {"slots": [1, 2], "to": 0}),
        ("index.scale", {"shards": 3}, "/v1/shards/scale", {"shards": 3}),
    ):
        given, gateway = both(answering(plan), method, **arguments)
        assert (given.shards, given.after[0].chunks) == (3, 9)
        assert (gateway.requests[0].url.path, json.loads(gateway.bodies[0])) == (path, body)
    assert both(answering({"called_off": 4}), "index.cancel")[0] == 4
    asked, gateway = both(
        answering({"replicas": [{"shard": 1, "replica": 0, "rebuilds": 2}]}), "index.rebuild", 1, replica=0
    )
    assert (asked[0].rebuilds, json.loads(gateway.bodies[0])) == (2, {"shard": 1, "replica": 0})
    digests, _ = both(answering({"stream_sequence": 7, "replicas": []}), "index.digests")
    assert digests.stream_sequence == 7
    status, _ = both(
        answering({"version": 1, "shards_total": 2, "stream_sequence": 7, "shards": [], "moves": []}), "index.status"
    )
    assert status.shards_total == 2
