"""A small real HTTP server that behaves like the gateway, as far as the command can tell."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from tests.unit.client.fake_gateway import status, video

SLICES = [{"slice_id": "00000", "start_time": 0.0, "end_time": 61.5, "state": "indexed", "attempts": 1}]


class StubGateway(ThreadingHTTPServer):
    """Keeps videos in a dictionary. An upload whose body holds `broken` fails, one that holds `refused` is refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.videos: dict[str, dict[str, Any]] = {}
        self.searches: list[dict[str, list[str]]] = []
        self.hits: list[dict[str, Any]] = []
        self.answers: list[list[dict[str, Any]]] = []
        """Hits of the next searches; `hits` after them."""
        self.next_cursor: str | None = None
        self.uploads: list[bytes] = []
        self.imports: list[dict[str, Any]] = []
        self.busy = 0
        """Imports that are refused as too many, before one is taken."""
        self.index: list[dict[str, Any]] = []
        """What /shards answers, one after the other; the last again and again. None at all: 404."""
        self.on_look: Callable[[], None] = lambda: None
        self.digests: list[dict[str, Any]] = []
        self.posted: list[tuple[str, Any]] = []
        self.plan: dict[str, Any] = {}
        self.read: list[dict[str, list[str]]] = []
        """What transcripts were asked for."""
        self.put: list[tuple[str, str, bytes]] = []
        """Content type, If-Match and body of transcripts put."""
        self.changed: list[tuple[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        """What came in that header."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, state: str, **more: Any) -> dict[str, Any]:
        video_id = f"vid_{len(self.videos) + 1}"
        self.videos[video_id] = video(video_id, state, **more)
        return self.videos[video_id]


@contextmanager
def stub_gateway() -> Iterator[StubGateway]:
    """A stub that listens."""
    with StubGateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: StubGateway

    def parse_request(self) -> bool:
        read = super().parse_request()
        if read:
            self.path = self.path.removeprefix("/v1")
        return read

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.authorizations.append(self.headers["authorization"])
        if parts.path == "/keys":
            self._json(200, {"keys": self.server.keys, "next_cursor": None})
        else:
            self._get(parts)

    def _get(self, parts: SplitResult) -> None:
        match parts.path.strip("/").split("/"):
            case ["readyz"]:
                self._json(200, {"ready": True})
            case ["shards"] if self.server.index:
                self.server.on_look()
                self._json(200, _next(self.server.index))
            case ["shards", "digests"]:
                self._json(200, _next(self.server.digests))
            case ["search"]:
                asked = parse_qs(parts.query)
                self.server.searches.append(asked)
                complete = bool(self.server.index)
                hits = self.server.answers.pop(0) if self.server.answers else self.server.hits
                self._json(200, {**_answer(asked, hits, complete=complete), "next_cursor": self.server.next_cursor})
            case ["videos"]:
                self._json(200, {"videos": list(self.server.videos.values()), "next_cursor": None})
            case ["videos", video_id, *_] if video_id not in self.server.videos:
                self._missing()
            case ["videos", video_id]:
                self._json(200, self.server.videos[video_id])
            case ["videos", video_id, "status"]:
                self._json(200, self._status(video_id))
            case ["videos", video_id, "events"]:
                self._events(video_id)
            case ["videos", video_id, "transcript"]:
                self.server.read.append(parse_qs(parts.query))
                form = self.server.read[-1]["format"][0]
                if form == "json":
                    self._json(200, {"video_id": video_id, "language": "en", "complete": True, "segments": []})
                else:
                    self._send(200, "text/plain", f"the transcript as {form}\n".encode())
            case _:
                self._missing()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.put.append((self.headers["content-type"], self.headers["if-match"], body))
        if body.startswith(b"refused"):
            wrong = [{"reason": "INVALID_ARGUMENT"}, {"field": "body", "description": "it has no cues"}]
            if b"twice" in body:
                wrong.append({"field": "segments", "description": "and no times"})
            self._json(400, {"error": {"status": "INVALID_ARGUMENT", "message": "it has no cues", "details": wrong}})
            return
        self._json(202, self.server.videos[self.path.split("/")[2]])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        match self.path.strip("/").split("/"):
            case ["keys"]:
                self.server.posted.append(("keys", json.loads(body)))
                self._json(201, {**self.server.keys[0], "key": "earmark_key1_secret"})
            case ["videos", "upload"] if b"refused" in body:
                self._error(415, "INVALID_ARGUMENT", "MEDIA_UNREADABLE", "This is not a video.")
            case ["videos", "upload"]:
                self.server.uploads.append(body)
                error = {"stage": "slice", "reason": "NO_AUDIO", "message": "It has no sound."}
                more = {"error": error} if b"broken" in body else {}
                self._json(202, self.server.add("failed" if more else "ready", **more))
            case ["videos"]:
                self._json(202, self.server.add("ready", url=json.loads(body)["url"]))
            case ["videos", "import"]:
                self._import(json.loads(body))
            case ["shards", "rebuild"]:
                self.server.posted.append(("rebuild", json.loads(body)))
                place = json.loads(body)
                self._json(202, {"replicas": [{"shard": place["shard"], "replica": place["replica"], "rebuilds": 0}]})
            case ["shards", "cancel"]:
                self.server.posted.append(("cancel", json.loads(body)))
                self._json(202, {"called_off": 3})
            case ["shards", what]:
                self.server.posted.append((what, json.loads(body)))
                self._json(200 if what == "plan" else 202, self.server.plan)
            case ["videos", video_id, "retry"]:
                self._json(202, {**self.server.videos[video_id], "status": "processing"})
            case _:
                self._missing()

    def do_PATCH(self) -> None:
        video_id = self.path.rpartition("/")[2]
        if "/segments/" in self.path:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
            self.server.changed.append((video_id, body))
            segment = {"segment_id": video_id, "start": 1.0, "end": 2.0, "text": body["text"]}
            self._json(200, {"video_id": "vid_1", "revision": 5, "status": "processing", "segment": segment})
            return
        change = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        self.server.videos[video_id].update(change)
        self._json(200, self.server.videos[video_id])

    def do_DELETE(self) -> None:
        video_id = self.path.rpartition("/")[2]
        if self.path.startswith("/keys/"):
            self._json(200, {**self.server.keys[0], "holds": False})
            return
        self._json(202, {**self.server.videos.pop(video_id), "status": "deleting"})

    def _import(self, body: dict[str, Any]) -> None:
        with self.server.lock:
            if self.server.busy:
                self.server.busy -= 1
                self._error(429, "RESOURCE_EXHAUSTED", "OVERLOADED", "Too many imports.")
                return
            self.server.imports.append(body)
            if not body["segments"]:
                self._error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "The transcript is empty.")
                return
            key = body.get("external_id")
            there = next((one for one in self.server.videos.values() if key and one.get("external_id") == key), None)
            made = there or self.server.add("ready", title=body["title"], external_id=key, duration=60.0)
        self._json(200 if there else 202, made)

    def _status(self, video_id: str) -> dict[str, Any]:
        whole = self.server.videos[video_id]
        return status(
            whole["status"],
            video_id=video_id,
            error=whole["error"],
            warnings=whole["warnings"],
            slices=SLICES,
            index_token=whole.get("index_token"),
        )

    def _events(self, video_id: str) -> None:
        said = [{**self._status(video_id), "status": "processing", "error": None}, self._status(video_id)]
        text = "".join(f"event: status\ndata: {json.dumps(one)}\n\n" for one in said) + "event: end\ndata: {}\n\n"
        self._send(200, "text/event-stream", text.encode())

    def _missing(self) -> None:
        self._error(404, "NOT_FOUND", "VIDEO_NOT_FOUND", "There is no such video.")

    def _error(self, code: int, name: str, reason: str, message: str) -> None:
        details = [{"reason": reason, "domain": "earmark", "metadata": {}}]
        self._json(code, {"error": {"code": code, "status": name, "message": message, "details": details}})

    def _json(self, code: int, value: Any) -> None:
        self._send(code, "application/json", json.dumps(value).encode())

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _next(values: list[dict[str, Any]]) -> dict[str, Any]:
    return values.pop(0) if len(values) > 1 else values[0]


def _answer(asked: dict[str, list[str]], hits: list[dict[str, Any]], *, complete: bool = False) -> dict[str, Any]:
    return {
        "query": asked["q"][0],
        "mode": asked["mode"][0],
        "hits": hits,
        "next_cursor": None,
        "coverage": {
            "shards_total": 2,
            "shards_answered": 2 if complete else 1,
            "complete": complete,
            "legs": ["keyword"],
            "embedding_model": None,
            "missing": [] if complete else [{"shard": 1, "reason": "UNAVAILABLE"}],
        },
        "timing": {"total_ms": 3.5, "embed_ms": 2.0, "shards_ms": 1.0, "fuse_ms": 0.5},
    }
