"""The mesh as its users see it: the gateway's HTTP API, and `earmark up` to have one."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

POLL_SECONDS = 0.2
INGEST_SECONDS = 3600


@contextmanager
def started_mesh(data_dir: Path) -> Iterator[str]:
    """Starts a mesh with its data in `data_dir`, gives its URL, and ends it."""
    command = [sys.executable, "-m", "earmark"]
    subprocess.run([*command, "up", "--detach", "--data-dir", str(data_dir)], check=True, stdout=sys.stderr)
    try:
        yield json.loads((data_dir / "run" / "mesh.json").read_text(encoding="utf-8"))["http_url"]
    finally:
        subprocess.run([*command, "down", "--data-dir", str(data_dir)], check=True, stdout=sys.stderr)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What an ingest came to: ids by file name, and seconds from the first upload on."""

    videos: dict[str, str]
    seconds: float
    seconds_to_first_searchable: float


async def ingest(url: str, paths: Sequence[Path]) -> Ingested:
    """Uploads all files at once and waits until every one is ready.

    Raises:
        RuntimeError: a video failed, or the whole took longer than an hour.
    """
    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        begun = time.perf_counter()
        created = await asyncio.gather(*(_upload(client, path) for path in paths))
        videos = {path.name: video["video_id"] for path, video in zip(paths, created, strict=True)}
        waiting = dict(videos)
        first = 0.0
        while waiting:
            if time.perf_counter() - begun > INGEST_SECONDS:
                raise RuntimeError(f"not ready after {INGEST_SECONDS} s: {', '.join(waiting)}")
            for name, video_id in list(waiting.items()):
                video = (await client.get(f"/videos/{video_id}")).raise_for_status().json()
                if not first and (video["progress"]["seconds_searchable"] or 0) > 0:
                    first = time.perf_counter() - begun
                if video["status"] == "failed":
                    raise RuntimeError(f"{name} failed: {video['error']}")
                if video["status"] == "ready":
                    del waiting[name]
            await asyncio.sleep(POLL_SECONDS)
        return Ingested(videos, time.perf_counter() - begun, first)


async def _upload(client: httpx.AsyncClient, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        response = await client.post(
            "/videos/upload", data={"title": path.stem, "duplicate": "allow"}, files={"file": (path.name, file)}
        )
    video: dict[str, Any] = response.raise_for_status().json()
    return video


def transcript(url: str, video_id: str) -> str:
    """All that was heard in a video."""
    response = httpx.get(f"{url}/videos/{video_id}/transcript", params={"format": "json"}, timeout=60)
    return " ".join(segment["text"].strip() for segment in response.raise_for_status().json()["segments"])


def delete(url: str, video_ids: Sequence[str]) -> None:
    """Deletes videos and waits until they are gone.

    Raises:
        RuntimeError: they were not gone after a minute.
    """
    with httpx.Client(base_url=url, timeout=60) as client:
        for video_id in video_ids:
            client.delete(f"/v1/videos/{video_id}", params={"now": True}).raise_for_status()
        for video_id in video_ids:
            until = time.perf_counter() + 60
            while client.get(f"/videos/{video_id}").status_code != 404:
                if time.perf_counter() > until:
                    raise RuntimeError(f"{video_id} was not gone a minute after it was deleted")


class SearchConnection:
    """One kept-alive HTTP connection. The standard library's client: httpx would add about half a millisecond."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def search(self, query: str, *, limit: int = 10, mode: str = "hybrid") -> dict[str, Any]:
        """Asks and gives the whole answer, parsed.

        Raises:
            RuntimeError: the answer is not 200.
        """
        self._connection.request("GET", f"/search?q={quote(query)}&limit={limit}&mode={mode}")
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"search answered {response.status}: {body[:300]!r}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
