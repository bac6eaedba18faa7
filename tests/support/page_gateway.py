"""Answers the page's requests inside the browser, so that a test says what the gateway knows and does."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Route

from services.gateway.http import edge

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "services" / "gateway" / "web"
MEDIA = ROOT / "samples" / "how-bees-make-honey.mp4"
ORIGIN = "http://earmark.test"
VIDEO = "vid_00000000000000000000000001"
NEW = "vid_00000000000000000000000009"
_PLAYWRIGHTS = (
    *("AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync"),
    *("DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay"),
    *("MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch"),
    "ThirdPartyStoragePartitioning",
)
"""What Playwright disables: Chromium goes by the last list that it is given, which is ours."""
_OF_THE_ADDRESS_BAR = ("WebUIOmniboxPopup", "WebUIOmniboxAimPopup")
"""Two pages that Chromium loads for every window, also where none is seen: most of what a context costs."""
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
    f"--disable-features={','.join((*_PLAYWRIGHTS, *_OF_THE_ADDRESS_BAR))}",
]
"""For a Chromium without a screen, a sandbox or the internet."""

Answer = dict[str, Any]


def video(video_id: str = VIDEO, **changes: Any) -> Answer:
    """A video as the gateway shows one."""
    links = {name: f"/v1/videos/{video_id}/{name}" for name in ("status", "events", "transcript", "media", "thumbnail")}
    return {
        "video_id": video_id,
        "title": "Bees <img src=x onerror=alert(1)>",
        "url": None,
        "status": "ready",
        "duration": 120.0,
        "source": {"filename": "bees.mp4", "content_type": "video/mp4", "bytes": 1, "sha256": ""},
        "metadata": {
            "uploaded_at": "2026-01-02T03:04:05Z",
            "processed_at": None,
            "language": "en",
            "languages": ["en"],
        },
        "progress": progress(1, 1, 120),
        "error": None,
        "warnings": [],
        "revision": 1,
        "collection": None,
        "tags": [],
        "links": links,
        **changes,
    }


def progress(done: int, known: int, seconds: float, *, slicing_done: bool = True) -> Answer:
    """How far a video is."""
    return {
        "slices_known": known,
        "slicing_done": slicing_done,
        "slices_done": done,
        "slices_failed": 0,
        "seconds_searchable": seconds,
        "seconds_known": 120,
        "fraction": done / known if known else None,
        "seconds_left": None,
    }


def moment(text: str, match_time: float, **changes: Any) -> Answer:
    """A moment that was found."""
    return {
        "video_id": VIDEO,
        "title": video()["title"],
        "language": "en",
        "speaker": None,
        "chunk_id": f"{VIDEO}/00000/0000",
        "text": text,
        "highlights": [],
        "start_time": match_time - 3,
        "end_time": match_time + 20,
        "match_time": match_time,
        "sentence": None,
        "score": 0.03,
        "scores": {"semantic": {"score": 0.5, "rank": 1}, "keyword": None},
        "links": {},
        "more": [],
        **changes,
    }


def answer(*hits: Answer, **coverage: Any) -> Answer:
    """An answer to a search."""
    full = {"shards_total": 2, "shards_answered": 2, "complete": True, "legs": ["semantic", "keyword"], "missing": []}
    timing = {"total_ms": 3.2, "embed_ms": 2.0, "shards_ms": 1.0, "fuse_ms": 0.2}
    return {"hits": list(hits), "next_cursor": None, "coverage": {**full, **coverage}, "timing": timing}


def line(at: float) -> Answer:
    """A line of the transcript: six words in six seconds."""
    text = f"Line at {at:g}. Honey is sweet."
    words = [{"start": at + n, "end": at + n + 1, "text": f" {word}"} for n, word in enumerate(text.split())]
    return {"start": at, "end": at + 5.0, "text": text, "words": words, "speaker": "Ann", "suspect": ""}


TRANSCRIPT = {
    "video_id": VIDEO,
    "language": "en",
    "complete": True,
    "segments": [line(at) for at in range(0, 120, 6)],
}
CAPTIONS = "WEBVTT\n\n00:00.000 --> 02:00.000\nLine\n"


def _replica(shard: int, state: str, **more: Any) -> Answer:
    replica = {"replica": 0, "address": f"127.0.0.1:500{shard}", "state": state, "problem": None, "chunks": 1200}
    return {
        "shard": shard,
        "replicas": [{**replica, "videos": 9, "lag": 0, "resident_bytes": 1e9, "model": "m", **more}],
    }


OPERATIONS: Answer = {
    "shards": [
        _replica(0, "ready"),
        _replica(1, "away", problem="does not answer", chunks=None, videos=None, lag=None),
    ],
    "queues": [{"stage": "transcribe", "work": "recognizer", "pending": 42, "in_flight": 4, "oldest_s": 340.0}],
    "workers": [
        {
            "service": "transcriber",
            "host": "here",
            "pid": 4711,
            "since": "2026-11-23T09:00:00Z",
            "work": [{"work": "slicer", "busy": 0}, {"work": "recognizer", "busy": 2}],
        }
    ],
    "throughput": {
        "minutes": 15,
        "videos_ready": 3,
        "slices_searchable": 30,
        "media_seconds_searchable": 5400.0,
        "times_real_time": 6.0,
    },
    "search": {"minutes": 15, "p50_ms": 11.2, "p95_ms": 34.0, "p99_ms": 80.0, "count": 1000, "partial": 3},
    "queries": {
        "kept": True,
        "frequent": [{"query": "waggle dance", "count": 40, "count_at_least": 38, "last_at": "2026-11-23T09:00:00Z"}],
        "without_results": [
            {"query": "zebra crossing", "count": 4, "count_at_least": 4, "last_at": "2026-11-23T09:00:00Z"}
        ],
    },
    "cache": {"query_vectors": {"hit": 82, "miss": 18, "changed": 0, "hit_rate": 0.82, "entries": 12, "bytes": 18432}},
    "problems": [{"part": "throughput", "message": "the database does not answer"}],
    "at": "2026-11-23T09:00:00Z",
}
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="180"><rect width="320" height="180"/></svg>'


class PageGateway:
    """A gateway with what it knows in attributes; `search` is called with the query.

    Attributes:
        requests: What was asked, `GET /videos`, without the version.
        key: Needed by every call, but for links with `signature=good`; empty for none.
        scopes: What the key may do.
        statuses: What an event stream says of a video before it ends; none opens while there is nothing.
        cut_after: Bytes after which the next upload breaks; none does when it is 0.
        away: Whether an upload that broke finds no gateway to go on with.
    """

    def __init__(self) -> None:
        self.videos: list[Answer] = [video()]
        self.search: Callable[[str, Route], Answer | None] = lambda _query, _route: answer()
        self.searched: list[dict[str, list[str]]] = []
        self.requests: list[str] = []
        self.media_status = 206
        self.key = ""
        self.scopes = ["admin", "read", "upload"]
        self.changes: list[Answer] = []
        self.statuses: list[Answer] = []
        self.deleted: list[Answer] = []
        self.away = False
        self.metadata: dict[str, str] = {}
        self.length = self.offset = self.cut_after = 0

    def __call__(self, route: Route) -> None:
        """Answers one request."""
        address = urlsplit(route.request.url)
        path, method = address.path.removeprefix("/v1"), route.request.method
        self.requests.append(f"{method} {path}")
        if path in ("/", "/library", "/ops") or path.startswith("/v/"):
            headers = {name.decode(): value.decode() for name, value in edge._HEADERS}
            route.fulfill(body=(WEB / "index.html").read_text(), headers={**headers, "Content-Type": "text/html"})
        elif path.startswith("/web/"):
            file = WEB / path.removeprefix("/web/")
            route.fulfill(path=file, content_type=mimetypes.guess_type(file)[0])
        elif self.key and not self._admitted(route, address.query):
            self.refuse(route, 401, "UNAUTHENTICATED", "a key is needed")
        elif path == "/search":
            asked = parse_qs(address.query)
            self.searched.append(asked)
            found = self.search(asked["q"][0], route)
            if found is not None:
                self.json(route, {**found, "query": asked["q"][0], "mode": asked["mode"][0]})
        elif path == "/operations":
            self.json(route, OPERATIONS)
        elif path == "/keys/self":
            self.json(route, {"key_id": None, "scopes": self.scopes, "collections": None})
        elif path == "/videos" and method == "GET":
            self.json(route, {"videos": self.videos, "next_cursor": None})
        elif path.startswith("/files"):
            self._tus(route)
        elif path.endswith("/restore") and self.deleted:
            back = self.deleted.pop()
            back["revision"] += 1
            self.videos.append(back)
            self.json(route, back, 202)
        elif (found_id := re.match(r"/videos/([^/]+)", path)) and self._video(found_id[1]):
            self._of_video(route, self._video(found_id[1]) or {}, path.removeprefix(found_id[0]), address.query)
        else:
            self.refuse(route, 404, "NOT_FOUND", "there is none")

    def _video(self, video_id: str) -> Answer | None:
        return next((one for one in self.videos if one["video_id"] == video_id), None)

    def _of_video(self, route: Route, one: Answer, rest: str, query: str) -> None:
        method = route.request.method
        if rest == "" and method == "PATCH":
            self.changes.append(route.request.post_data_json)
            one.update(route.request.post_data_json, revision=one["revision"] + 1)
            self.json(route, one)
        elif rest == "" and method == "DELETE":
            self.deleted.append(one)
            self.videos.remove(one)
            one["revision"] += 1
            self.json(route, {**one, "status": "deleting", "restorable_until": "2099-01-01T00:00:00Z"}, 202)
        elif rest == "":
            self.json(route, one)
        elif rest == "/retry" and one.get("playable") == "failed":
            one.update(playable=None, revision=one["revision"] + 1)
            self.json(route, one, 202)
        elif rest == "/media" and self.media_status == 206:
            self._media(route)
        elif rest == "/thumbnail":
            route.fulfill(body=PICTURE, content_type="image/svg+xml")
        elif rest == "/events" and self.statuses:
            events = "".join(f"event: status\ndata: {json.dumps(status)}\n\n" for status in self.statuses)
            route.fulfill(body=events, content_type="text/event-stream")
        elif rest == "/status":
            self.json(route, one)
        elif rest == "/transcript" and "vtt" in query:
            route.fulfill(body=CAPTIONS, content_type="text/vtt")
        elif rest == "/transcript":
            self.json(route, TRANSCRIPT)
        else:
            self.refuse(route, 404, "NOT_FOUND", "there is none")

    def _tus(self, route: Route) -> None:
        """Takes an upload; bytes are counted and not looked at, since a browser does not tell of a file's."""
        request = route.request
        head = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(self.offset), "Upload-Length": str(self.length)}
        if self.away and self.offset:
            route.abort("connectionreset")
        elif request.method == "POST":
            self.length, self.offset = int(request.headers["upload-length"]), 0
            pairs = (pair.partition(" ") for pair in request.headers["upload-metadata"].split(","))
            self.metadata = {name: base64.b64decode(value).decode() for name, _, value in pairs}
            route.fulfill(status=201, headers={"Tus-Resumable": "1.0.0", "Location": "/v1/files/upl_1"})
        elif request.method in ("HEAD", "DELETE") and not self.length:
            route.fulfill(status=404, headers={"Tus-Resumable": "1.0.0"})
        elif request.method == "DELETE":
            self.length = self.offset = 0
            route.fulfill(status=204, headers={"Tus-Resumable": "1.0.0"})
        elif request.method == "HEAD":
            route.fulfill(status=200, headers=head)
        elif self.cut_after:
            self.offset, self.cut_after = self.cut_after, 0
            route.abort("connectionreset")
        else:
            assert int(request.headers["upload-offset"]) == self.offset
            self.offset = self.length
            self.videos.append(
                video(NEW, title=self.metadata["filename"], status="processing", progress=progress(0, 0, 0))
            )
            route.fulfill(status=204, headers={**head, "Upload-Offset": str(self.length), "Earmark-Video-Id": NEW})

    def _admitted(self, route: Route, query: str) -> bool:
        given = route.request.headers.get("authorization", "")
        return given == f"Bearer {self.key}" or parse_qs(query).get("signature") == ["good"]

    @staticmethod
    def json(route: Route, body: Answer, status: int = 200) -> None:
        """Answers with JSON."""
        route.fulfill(status=status, body=json.dumps(body), content_type="application/json")

    def refuse(self, route: Route, code: int, status: str, message: str) -> None:
        """Answers with an error of the API's shape."""
        self.json(route, {"error": {"code": code, "status": status, "message": message, "details": []}}, code)

    @staticmethod
    def _media(route: Route) -> None:
        data = MEDIA.read_bytes()
        found = re.match(r"bytes=(\d+)-(\d*)", route.request.headers.get("range", "bytes=0-"))
        assert found is not None
        start, end = int(found[1]), int(found[2] or len(data) - 1)
        headers = {"Content-Range": f"bytes {start}-{end}/{len(data)}", "Accept-Ranges": "bytes"}
        route.fulfill(status=206, body=data[start : end + 1], content_type="video/mp4", headers=headers)
