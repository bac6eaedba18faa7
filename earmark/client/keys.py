"""API keys as an administrator sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, TypedDict, Unpack
from urllib.parse import quote

from earmark.client.calls import AsyncSend, Call, Send, parsed
from earmark.client.results import Json

Right = Literal["read", "upload", "admin"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key may do. None of `collections` means all, None of a limit that there is none of its own."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None
    default_collection: str | None
    requests_per_second: float | None
    bytes_per_day: int | None
    videos_per_day: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    holds: bool
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        collections = data["collections"]
        return cls(
            key_id=data["key_id"],
            name=data["name"],
            scopes=tuple(data["scopes"]),
            collections=None if collections is None else tuple(collections),
            default_collection=data.get("default_collection"),
            requests_per_second=data.get("requests_per_second"),
            bytes_per_day=data.get("bytes_per_day"),
            videos_per_day=data.get("videos_per_day"),
            created_at=datetime.fromisoformat(data["created_at"]),
            expires_at=_time(data.get("expires_at")),
            revoked_at=_time(data.get("revoked_at")),
            holds=bool(data["holds"]),
            raw={name: value for name, value in data.items() if name != "key"},
        )


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made. `text` is what is sent; it cannot be had again."""

    key: ApiKey
    text: str = field(repr=False)

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(ApiKey.parse(data), data["key"])


class KeyOptions(TypedDict, total=False):
    """What a new key may do; without any it may read everything, for ever."""

    scopes: Iterable[Right]
    """`admin` may do everything."""
    collections: Iterable[str] | None
    """Whose videos it sees; None for all."""
    default_collection: str
    """Where its uploads go that name none; the first of `collections` when empty."""
    requests_per_second: float | None
    """In the long run; None for what the gateway's settings say."""
    bytes_per_day: int | None
    """Bytes of media it may upload on a day (UTC)."""
    videos_per_day: int | None
    """Videos it may make on a day."""
    expires_in_days: float | None
    """None for never."""


class Keys:
    """The administrator's part of a client: `client.keys`. Every method raises `EarmarkClientError`."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def create(self, name: str, **options: Unpack[KeyOptions]) -> NewApiKey:
        """Makes a key.

        Args:
            name: whose it is.
            **options: what it may do; see `KeyOptions`.

        Raises:
            InvalidRequest: something of it is wrong.
            PermissionDenied: the client's own key is not an administrator's.
        """
        made: NewApiKey = self._send(_create(name, options))
        return made

    def list(self, *, page_size: int = 50) -> Iterator[ApiKey]:
        """All keys, newest first, also those that are over; fetched page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page: Json = self._send(_page(page_size, cursor))
            yield from map(ApiKey.parse, page["keys"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def revoke(self, key_id: str) -> ApiKey:
        """Ends a key for good. Raises NotFound."""
        revoked: ApiKey = self._send(_revoke(key_id))
        return revoked


class AsyncKeys:
    """`Keys` for asyncio: the same methods, awaited."""

    def __init__(self, send: AsyncSend) -> None:
        self._send = send

    async def create(self, name: str, **options: Unpack[KeyOptions]) -> NewApiKey:
        """Makes a key; see `Keys.create`."""
        made: NewApiKey = await self._send(_create(name, options))
        return made

    async def list(self, *, page_size: int = 50) -> AsyncIterator[ApiKey]:
        """All keys, newest first, also those that are over; fetched page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page: Json = await self._send(_page(page_size, cursor))
            for key in page["keys"]:
                yield ApiKey.parse(key)
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def revoke(self, key_id: str) -> ApiKey:
        """Ends a key for good. Raises NotFound."""
        revoked: ApiKey = await self._send(_revoke(key_id))
        return revoked


def _create(name: str, options: KeyOptions) -> Call[NewApiKey]:
    body: dict[str, Any] = {"name": name, **options}
    for several in ("scopes", "collections"):
        if body.get(several) is not None:
            body[several] = list(body[several])
    return Call("POST", "/v1/keys", parsed(NewApiKey.parse), body=body)


def _page(limit: int, cursor: str | None) -> Call[Json]:
    params: dict[str, str | int | list[str]] = {"limit": limit, **({"cursor": cursor} if cursor else {})}
    return Call("GET", "/v1/keys", parsed(dict), params)


def _revoke(key_id: str) -> Call[ApiKey]:
    return Call("DELETE", f"/v1/keys/{quote(key_id, safe='')}", parsed(ApiKey.parse))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
