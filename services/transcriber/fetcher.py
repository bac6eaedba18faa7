"""Fetches media by URL into the object store: from the internet, or from S3."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore
import httpx
import obstore
from obstore.store import S3Store

from services.common.errors import EarmarkError, InvalidArgument, MediaTooLarge, Unavailable
from services.common.objects import ObjectStore
from services.common.urls import check_url, resolve

_REDIRECTS = 5
_BLOCK = 256 * 1024
_WEB_PAGES = frozenset({"text/html", "application/xhtml+xml"})


class FetchRefused(EarmarkError):
    """The URL gives no media: the server refuses, has no such file, or sends something else."""

    reason = "FETCH_REFUSED"
    code = "FAILED_PRECONDITION"


class FetchFailed(Unavailable):
    """The server or the way to it fails just now."""

    reason = "FETCH_FAILED"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch.

    Attributes:
        max_bytes: Largest media accepted.
        connect_seconds: Time to connect, and to send the first byte.
        stall_seconds: Time without a byte after which it is given up.
        total_seconds: Time for all of it.
        allow_private: Whether addresses inside the network may be fetched from.
    """

    max_bytes: int = 8 * 2**30
    connect_seconds: float = 15.0
    stall_seconds: float = 60.0
    total_seconds: float = 6 * 3600.0
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched. `sha256` is lower-case hex."""

    filename: str
    content_type: str
    bytes: int
    sha256: str


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only: the check and the connection use the same answer of the resolver.

    Every connection comes through here, those of redirects too. TLS still checks the certificate for the name.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address of `host` that answers. Raises AddressRefused."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await resolve(host, port, allow_private=self._allow_private):
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refuses: no URL leads to a socket of this machine."""
        raise httpcore.ConnectError("not over a socket")

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


class Fetcher:
    """Fetches media into the object store.

    Args:
        objects: Where it goes.
        limits: Bounds.
        object_store_url: URL of the mesh's own store, which no URL of a user may read from.
    """

    def __init__(self, objects: ObjectStore, limits: FetchLimits, *, object_store_url: str) -> None:
        self._objects = objects
        self._limits = limits
        own = urlsplit(object_store_url)
        self._own_bucket = own.netloc if own.scheme == "s3" else None

    async def fetch(self, url: str, key: str) -> Fetched:
        """Fetches `url` into the object `key`; nothing is left there if it does not come through whole.

        Raises:
            InvalidArgument: It is no URL that can be fetched.
            AddressRefused: It, or where it redirects to, is inside the network.
            FetchRefused: There is no media there.
            MediaTooLarge: It is over the size limit.
            FetchFailed: It may work later.
        """
        url = check_url(url)
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                if url.lower().startswith("s3://"):
                    return await self._fetch_s3(url, key)
                return await self._fetch_http(url, key)
        except TimeoutError:
            raise FetchFailed(f"the media did not come within {self._limits.total_seconds:.0f} s") from None

    async def _fetch_http(self, url: str, key: str) -> Fetched:
        limits = self._limits
        timeout = httpx.Timeout(limits.connect_seconds, read=limits.stall_seconds)
        transport = httpx.AsyncHTTPTransport(trust_env=False)
        # httpx has no setting for the network below it; this is the pool it would make, over the guarded network.
        transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001
            ssl_context=httpx.create_ssl_context(),
            network_backend=GuardedNetwork(allow_private=limits.allow_private),
        )
        headers = {"User-Agent": "earmark/0.1 (+media fetcher)", "Accept": "video/*, audio/*, */*;q=0.5"}
        try:
            async with (
                httpx.AsyncClient(
                    transport=transport,
                    timeout=timeout,
                    follow_redirects=True,
                    max_redirects=_REDIRECTS,
                    headers=headers,
                ) as client,
                client.stream("GET", url) as response,
            ):
                _check_response(response, limits.max_bytes)
                content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                filename = _disposition_name(response.headers.get("content-disposition", "")) or _path_name(
                    str(response.url)
                )
                return await self._store(response.aiter_bytes(_BLOCK), key, filename, content_type)
        except httpx.TooManyRedirects as error:
            raise FetchRefused(f"the address redirects more than {_REDIRECTS} times") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise InvalidArgument(
                "the address leads to something that is neither http nor https", field="url"
            ) from error
        except httpx.ReadTimeout as error:
            message = f"the server sent nothing for {limits.stall_seconds:g} s"
            raise FetchFailed(message, reason="FETCH_STALLED") from error
        except httpx.HTTPError as error:
            raise FetchFailed(f"the media cannot be fetched: {_said(error)}") from error

    async def _fetch_s3(self, url: str, key: str) -> Fetched:
        parts = urlsplit(url)
        path = unquote(parts.path).lstrip("/")
        if parts.netloc == self._own_bucket:
            raise FetchRefused("this bucket is the mesh's own store; nothing is ingested from it")
        if not path:
            raise InvalidArgument("the URL names a bucket but no object in it", field="url")
        try:
            result = await obstore.get_async(S3Store(parts.netloc), path)
        except (FileNotFoundError, PermissionError) as error:
            raise FetchRefused(
                f"there is no object {path!r} in bucket {parts.netloc!r}, or no right to read it"
            ) from error
        except Exception as error:  # obstore's errors have no common base below this
            raise FetchFailed(f"bucket {parts.netloc!r} does not answer as it should") from error
        if int(result.meta["size"]) > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes)
        return await self._store(self._unstalled(result.stream(min_chunk_size=_BLOCK)), key, _path_name(url), "")

    async def _unstalled(self, blocks: AsyncIterable[Any]) -> AsyncIterator[bytes]:
        source = aiter(blocks)
        while True:
            try:
                async with asyncio.timeout(self._limits.stall_seconds):
                    block = await anext(source, None)
            except TimeoutError:
                message = f"the store sent nothing for {self._limits.stall_seconds:g} s"
                raise FetchFailed(message, reason="FETCH_STALLED") from None
            if block is None:
                return
            yield bytes(block)

    async def _store(self, blocks: AsyncIterable[bytes], key: str, filename: str, content_type: str) -> Fetched:
        digest = hashlib.sha256()
        total = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal total
            async for block in blocks:
                total += len(block)
                if total > self._limits.max_bytes:
                    raise _too_large(self._limits.max_bytes)
                digest.update(block)
                yield block

        await self._objects.put(key, counted())
        return Fetched(filename, content_type, total, digest.hexdigest())


def _check_response(response: httpx.Response, max_bytes: int) -> None:
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        raise FetchFailed(f"the server answered {status}; it may work later")
    if status != httpx.codes.OK:
        raise FetchRefused(f"the server answered {status} {response.reason_phrase}: there is no media to be had there")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _WEB_PAGES:
        message = "the address gives a web page, not a media file; give the address of the file itself"
        raise FetchRefused(message, reason="NOT_MEDIA")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> MediaTooLarge:
    return MediaTooLarge(f"the media is over the limit of {max_bytes / 2**20:.0f} MiB")


def _said(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.WriteTimeout():
            return "the server does not answer"
        case httpx.ConnectError():
            return "the server cannot be connected to"
        case httpx.RemoteProtocolError():
            return "the connection broke off before the end"
        case _:
            return "the connection failed"


def _path_name(url: str) -> str:
    return posixpath.basename(unquote(urlsplit(url).path))[:255]


def _disposition_name(header: str) -> str:
    match = re.search(r"filename\*=UTF-8''([^;]+)|filename=\"?([^\";]+)\"?", header, re.IGNORECASE)
    if match is None:
        return ""
    return posixpath.basename(unquote(match[1] or match[2]).replace("\\", "/")).strip()[:255]
