"""Keys made, listed and revoked."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.common.api_keys import ApiKey
from services.common.errors import InvalidArgument, NotFound
from services.gateway.access.caller import Scope
from services.gateway.access.secrets import KeyText
from services.gateway.attributes import checked_collection, one_line
from services.gateway.cursor import decode_position, encode_position, fingerprint

log = structlog.get_logger()

MAX_NAME_CHARS = 100
MAX_COLLECTIONS = 100
MAX_DAYS = 3650
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_MOST_RATE = 100_000.0
_BOUND = fingerprint("keys")


class KeyStore(Protocol):
    """Where keys are."""

    async def add(self, key: ApiKey) -> None:
        """Stores a new key."""
        ...

    async def get(self, key_id: str) -> ApiKey | None:
        """Gives a key."""
        ...

    async def page(self, *, limit: int, before: tuple[dt.datetime, str] | None = None) -> list[ApiKey]:
        """Gives up to `limit` keys, newest first."""
        ...

    async def revoke(self, key_id: str, at: dt.datetime) -> ApiKey | None:
        """Ends a key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What is said of a key to be made; see `ApiKey`. None of `collections` means all there are."""

    name: str
    scopes: Sequence[str] = (Scope.READ.value,)
    collections: Sequence[str] | None = None
    default_collection: str = ""
    requests_per_second: float | None = None
    bytes_per_day: int | None = None
    videos_per_day: int | None = None
    expires_in_days: float | None = None


class Keys:
    """What an administrator can do with keys.

    Args:
        store: Where they are.
        forget: Told of a key that was revoked, so that this gateway does not go on believing in it.
        now: Says what time it is.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        forget: Callable[[str], None] = lambda _: None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._store = store
        self._forget = forget
        self._now = now

    async def create(self, new: NewKey) -> tuple[ApiKey, str]:
        """Makes a key and gives it with its text, which is nowhere kept and cannot be had again.

        Raises:
            InvalidArgument: Something that was said of it is wrong.
        """
        text = KeyText.new()
        now = _kept(self._now())
        scopes = _scopes(new.scopes)
        collections = _collections(new.collections)
        if Scope.ADMIN.value in scopes and collections is not None:
            raise InvalidArgument(
                "an admin key may make keys for any collection, so it has all of them; leave collections out",
                field="collections",
            )
        default = checked_collection(new.default_collection)
        if collections is not None:
            default = default or collections[0]
            if default not in collections:
                raise InvalidArgument(f"{default!r} is not one of the collections", field="default_collection")
        key = ApiKey(
            key_id=text.key_id,
            digest=text.digest,
            name=_name(new.name),
            scopes=scopes,
            collections=collections,
            default_collection=default,
            requests_per_second=_positive(new.requests_per_second, "requests_per_second", _MOST_RATE),
            bytes_per_day=_whole(new.bytes_per_day, "bytes_per_day"),
            videos_per_day=_whole(new.videos_per_day, "videos_per_day"),
            created_at=now,
            expires_at=_expiry(new.expires_in_days, now),
        )
        await self._store.add(key)
        log.info("key_created", key_id=key.key_id, scopes=list(scopes))
        return key, str(text)

    async def list(self, *, limit: int = 0, cursor: str = "") -> tuple[list[ApiKey], str]:
        """Gives a page of keys, newest first, with the cursor behind them (empty on the last page).

        Raises:
            InvalidArgument: The cursor is wrong.
        """
        limit = min(limit, MAX_LIMIT) if limit > 0 else DEFAULT_LIMIT
        found = await self._store.page(limit=limit + 1, before=_position(decode_position(cursor, _BOUND)))
        page = found[:limit]
        if len(found) <= limit:
            return page, ""
        last = page[-1]
        return page, encode_position(f"{last.created_at.isoformat()} {last.key_id}", _BOUND)

    async def get(self, key_id: str) -> ApiKey:
        """Gives a key. Raises NotFound."""
        found = await self._store.get(key_id)
        if found is None:
            raise _not_found(key_id)
        return found

    async def revoke(self, key_id: str) -> ApiKey:
        """Ends a key for good: here at once, at other gateways within seconds. Raises NotFound."""
        found = await self._store.revoke(key_id, _kept(self._now()))
        self._forget(key_id)
        if found is None:
            raise _not_found(key_id)
        log.info("key_revoked", key_id=key_id)
        return found


def _kept(at: dt.datetime) -> dt.datetime:
    """Gives a time as MongoDB keeps it, in milliseconds: what is written must equal what is read."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _not_found(key_id: str) -> NotFound:
    return NotFound(f"there is no key {key_id[:64]!r}; list the keys there are", reason="KEY_NOT_FOUND")


def _name(text: str) -> str:
    name = one_line(text)
    if not name or len(name) > MAX_NAME_CHARS:
        raise InvalidArgument(
            f"a key has a name of 1 to {MAX_NAME_CHARS} characters, which says whose it is", field="name"
        )
    return name


def _scopes(given: Sequence[str]) -> tuple[str, ...]:
    known = [scope.value for scope in Scope]
    for scope in given:
        if scope not in known:
            raise InvalidArgument(f"scope {scope[:32]!r} is not one of {', '.join(known)}", field="scopes")
    if not given:
        raise InvalidArgument(f"a key needs at least one scope of {', '.join(known)}", field="scopes")
    return tuple(scope for scope in known if scope in given)


def _collections(given: Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = tuple(dict.fromkeys(checked_collection(name) for name in given))
    if not names or "" in names or len(names) > MAX_COLLECTIONS:
        raise InvalidArgument(
            f"give 1 to {MAX_COLLECTIONS} names of collections, or leave them out for all there are",
            field="collections",
        )
    return names


def _positive(given: float | None, field: str, most: float) -> float | None:
    if given is None or (math.isfinite(given) and 0 < given <= most):
        return given
    raise InvalidArgument(f"{field} {given!r} is not above 0 and at most {most:g}", field=field)


def _whole(given: int | None, field: str) -> int | None:
    if given is None or 0 <= given < 2**62:
        return given
    raise InvalidArgument(f"{field} {given!r} is not 0 or more", field=field)


def _expiry(days: float | None, now: dt.datetime) -> dt.datetime | None:
    lasting = _positive(days, "expires_in_days", MAX_DAYS)
    return None if lasting is None else now + dt.timedelta(days=lasting)


def _position(text: str) -> tuple[dt.datetime, str] | None:
    if not text:
        return None
    at, _, key_id = text.partition(" ")
    try:
        return dt.datetime.fromisoformat(at), key_id
    except ValueError:
        raise InvalidArgument("the cursor is not one of ours; leave it out to begin again", field="cursor") from None
