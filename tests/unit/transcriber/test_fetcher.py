"""Fetching by URL, from servers of the test on loopback, and what is refused."""

import asyncio
import contextlib
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from services.common.errors import AddressRefused, InvalidArgument, MediaTooLarge
from services.common.objects import ObjectStore
from services.common.urls import check_reachable, check_url, is_public, resolve
from services.transcriber.fetcher import Fetcher, FetchFailed, FetchLimits, FetchRefused

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
DATA = bytes(range(256)) * 4000


def answer(status: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def server(act: Answer) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await act(head.split(" ")[1], writer)
            await writer.drain()
        writer.close()

    running = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open((tmp_path / "objects").as_uri())


def fetcher(objects: ObjectStore, **limits: float | bool) -> Fetcher:
    return Fetcher(objects, FetchLimits(**{"allow_private": True, **limits}), object_store_url="s3://own/mesh")  # type: ignore[arg-type]


def says(data: bytes) -> Answer:
    async def act(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return act


async def test_media_is_stored_with_what_is_known_of_it(objects: ObjectStore) -> None:
    headers = {"Content-Type": "video/mp4; charset=x", "Content-Length": str(len(DATA))}
    async with server(says(answer("200 OK", headers, DATA))) as url:
        fetched = await fetcher(objects).fetch(f"{url}/talks/a%20talk.mp4?token=1", "k")
    assert await objects.get("k") == DATA
    assert (fetched.filename, fetched.content_type, fetched.bytes) == ("a talk.mp4", "video/mp4", len(DATA))
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()


async def test_redirects_are_followed_and_the_server_names_the_file(objects: ObjectStore) -> None:
    async def act(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/old":
            writer.write(answer("302 Found", {"Location": "/new"}))
        else:
            writer.write(answer("200 OK", {"Content-Disposition": 'attachment; filename="../../my talk.mkv"'}, DATA))

    async with server(act) as url:
        fetched = await fetcher(objects).fetch(f"{url}/old", "k")
    assert (fetched.filename, fetched.bytes) == ("my talk.mkv", len(DATA))


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        (answer("404 Not Found", {}), FetchRefused, "FETCH_REFUSED"),
        (answer("403 Forbidden", {}), FetchRefused, "FETCH_REFUSED"),
        (answer("503 Busy", {}), FetchFailed, "FETCH_FAILED"),
        (answer("429 Slow", {}), FetchFailed, "FETCH_FAILED"),
        (answer("200 OK", {"Content-Type": "text/html"}, b"<html>"), FetchRefused, "NOT_MEDIA"),
        (answer("302 Found", {"Location": "ftp://host/x"}), InvalidArgument, "INVALID_ARGUMENT"),
        (answer("302 Found", {"Location": "/again"}), FetchRefused, "FETCH_REFUSED"),
        (answer("200 OK", {"Content-Length": "5000000"}), MediaTooLarge, "MEDIA_TOO_LARGE"),
        (answer("200 OK", {}, DATA * 2), MediaTooLarge, "MEDIA_TOO_LARGE"),
        (answer("200 OK", {"Content-Length": "900000"}, b"half"), FetchFailed, "FETCH_FAILED"),
        (b"nonsense\r\n\r\n", FetchFailed, "FETCH_FAILED"),
    ],
)
async def test_what_a_server_says_becomes_an_error(
    objects: ObjectStore, said: bytes, error: type[Exception], reason: str
) -> None:
    async with server(says(said)) as url:
        with pytest.raises(error) as caught:
            await fetcher(objects, max_bytes=2_000_000).fetch(f"{url}/x", "k")
    assert caught.value.reason == reason  # type: ignore[attr-defined]
    assert await objects.list("") == []


async def test_a_server_that_stalls_is_given_up(objects: ObjectStore) -> None:
    async def act(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("200 OK", {"Content-Length": "100000"}, b"first"))
        await writer.drain()
        await asyncio.sleep(30)

    async with server(act) as url:
        with pytest.raises(FetchFailed) as caught:
            await fetcher(objects, stall_seconds=0.2).fetch(f"{url}/x", "k")
    assert caught.value.reason == "FETCH_STALLED"
    assert caught.value.transient
    assert await objects.list("") == []


async def test_a_server_that_drips_is_given_up_in_the_end(objects: ObjectStore) -> None:
    async def act(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("200 OK", {"Content-Length": "100000"}))
        for _n in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with server(act) as url:
        with pytest.raises(FetchFailed, match="did not come within"):
            await fetcher(objects, total_seconds=0.5).fetch(f"{url}/x", "k")


async def test_nobody_there_is_transient(objects: ObjectStore) -> None:
    async with server(says(b"")) as url:
        pass
    with pytest.raises(FetchFailed):
        await fetcher(objects).fetch(f"{url}/x", "k")


async def test_loopback_is_refused_unless_allowed(objects: ObjectStore) -> None:
    asked = []

    async def act(path: str, writer: asyncio.StreamWriter) -> None:
        asked.append(path)

    async with server(act) as url:
        port = url.rpartition(":")[2]
        for host in (
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
        ):
            with pytest.raises((AddressRefused, InvalidArgument)):
                await fetcher(objects, allow_private=False).fetch(f"http://{host}:{port}/x", "k")
    assert asked == []


async def test_the_own_bucket_is_refused(objects: ObjectStore) -> None:
    with pytest.raises(FetchRefused, match="own store"):
        await fetcher(objects).fetch("s3://own/mesh/videos/vid_1/media", "k")
    with pytest.raises(InvalidArgument, match="no object"):
        await fetcher(objects).fetch("s3://bucket", "k")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "2001:0:1::1", "fec0::1"),
    ],
)
def test_addresses_that_are_not_on_the_internet(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_that_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "   ",
            "talk.mp4",
            "ftp://host/x",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "http://[::1",
            "javascript:1",
        ),
        *("http://host:0/x", "http://host:99999/x", "http://name:word@host/x", "http://ho st/x", "http://h/\r\nX: y"),
        "http://host/" + "x" * 3000,
    ],
)
def test_what_is_no_url_to_fetch(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_url(url)
    assert caught.value.field == "url"


def test_what_is_one() -> None:
    for url in (
        "https://example.org/talk.mp4?a=b#t",
        "HTTP://example.org:8080/x",
        "s3://bucket/key",
        "http://[2606::1]/x",
    ):
        assert check_url(f" {url} ") == url


async def test_an_address_is_looked_at_before_a_url_is_accepted() -> None:
    with pytest.raises(AddressRefused) as caught:
        await check_reachable("http://127.0.0.1:8080/x")
    assert "EARMARK_ALLOW_PRIVATE_URLS" in caught.value.message
    assert await check_reachable("http://127.0.0.1:8080/x", allow_private=True) == "http://127.0.0.1:8080/x"
    assert await check_reachable("s3://bucket/key") == "s3://bucket/key"
    assert await resolve("127.0.0.1", 80, allow_private=True) == ["127.0.0.1"]
