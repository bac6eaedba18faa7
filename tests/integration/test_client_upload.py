"""The clients' uploads against a whole gateway: over connections that break, and in two processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from earmark.client import AsyncClient, Client, Conflict, ConnectionFailed, EarmarkClientError, NotFound
from earmark.client.resumable import LEAST_BYTES
from services.common.objects import media_key
from tests.support.gateway import Gateway

DATA = os.urandom(3 * LEAST_BYTES)


GATEWAY = {"delete_undo_seconds": 60}


class Breaking(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A network that breaks in the middle of the first requests that carry bytes."""

    def __init__(self, times: int) -> None:
        self._plain, self._plain_async = httpx.HTTPTransport(), httpx.AsyncHTTPTransport()
        self._left = times
        self.seen: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.method)
        if request.method == "PATCH" and self._left:
            self._left -= 1
            assert isinstance(request.stream, httpx.SyncByteStream)
            request.stream = _Cut(list(request.stream))
        return self._plain.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.method)
        if request.method == "PATCH" and self._left:
            self._left -= 1
            assert isinstance(request.stream, httpx.AsyncByteStream)
            request.stream = _Cut([block async for block in request.stream])
        return await self._plain_async.handle_async_request(request)


class _Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = blocks[: len(blocks) // 2]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks
        raise httpx.WriteError("the network is gone")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for block in self._blocks:
            yield block
        raise httpx.WriteError("the network is gone")


def file_of(tmp_path: Path) -> Path:
    path = tmp_path / "lecture.mp4"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_upload_goes_on_over_connections_that_break(mesh: Gateway, tmp_path: Path, kind: str) -> None:
    path, network, told = file_of(tmp_path), Breaking(2), list[tuple[int, int]]()
    url = str(mesh.http.base_url)
    if kind == "sync":
        with Client(url, transport=network) as client:
            video = await asyncio.to_thread(
                client.upload, path, title="A talk", tags=["bread"], progress=lambda *at: told.append(at)
            )
            again = await asyncio.to_thread(client.upload, path)
    else:
        async with AsyncClient(url, transport=network) as client_async:
            video = await client_async.upload(
                path, title="A talk", tags=["bread"], progress=lambda *at: told.append(at)
            )
            again = await client_async.upload(path)
    assert network.seen.count("PATCH") >= 3
    assert (video.title, video.tags, video.source.bytes, video.existing) == ("A talk", ("bread",), len(DATA), False)
    assert (again.video_id, again.existing) == (video.video_id, True)
    assert told[0] == (0, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))
    assert await mesh.backbone.objects.get(media_key(video.video_id)) == DATA


async def test_another_process_goes_on_with_what_one_began(mesh: Gateway, tmp_path: Path) -> None:
    path, begun = file_of(tmp_path), list[str]()
    url = str(mesh.http.base_url)
    async with AsyncClient(url, transport=Breaking(99)) as client:
        with pytest.raises(ConnectionFailed):
            await client.upload(path, on_begun=begun.append, patience=0)
    network = Breaking(0)
    async with AsyncClient(url, transport=network) as client:
        video = await client.upload(path, resume=begun[0], on_begun=begun.append)
        assert (len(begun), network.seen[0]) == (1, "HEAD")
        assert await mesh.backbone.objects.get(media_key(video.video_id)) == DATA
        # Another file does not go on with it, nor is taken for it.
        for name, data in (("other.mp4", DATA), (path.name, DATA + b"more")):
            (tmp_path / "else").mkdir(exist_ok=True)
            (tmp_path / "else" / name).write_bytes(data)
            with pytest.raises(EarmarkClientError, match="of another file"):
                await client.upload(tmp_path / "else" / name, resume=begun[0])
        # One that the gateway has forgotten is begun anew.
        other = await client.upload(path, resume="/v1/files/upl_gone", on_begun=begun.append, duplicate=True)
        assert other.video_id != video.video_id
        assert len(begun) == 2


async def test_what_was_deleted_is_brought_back(mesh: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    path.write_bytes(b"short")
    async with AsyncClient(str(mesh.http.base_url)) as client:
        video = await client.upload(path)
        assert (await client.upload(path)).existing
        assert (await client.delete(video.video_id)).restorable_until is not None
        assert (await client.restore(video.video_id)).status == "uploaded"
        with pytest.raises(Conflict):
            await client.restore(video.video_id)
        assert (await client.delete(video.video_id, now=True)).restorable_until is None
        with pytest.raises((NotFound, Conflict)):
            await client.restore(video.video_id)
