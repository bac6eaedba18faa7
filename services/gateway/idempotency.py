"""`Idempotency-Key`: a request that is sent again, since nobody knows whether it arrived, is done once."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from services.common.errors import InvalidArgument, KeyReused, ResultDeleted
from services.common.request_keys import RequestKey
from services.gateway.access.caller import caller

T = TypeVar("T")
MAX_KEY_CHARS = 256


class Records(Protocol):
    """What was done under which key."""

    async def get(self, name: str) -> RequestKey | None:
        """Gives what was done under a key."""
        ...

    async def put(self, name: str, key: RequestKey) -> None:
        """Keeps it for a while."""
        ...

    async def remove(self, name: str) -> None:
        """Forgets them."""
        ...


class Holding(Protocol):
    """Lets one at a time do something."""

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Waits for, and holds, a name."""
        ...


class Idempotency:
    """Does things once for each key.

    Args:
        records: What was done.
        claims: Keeps two gateways from doing it at the same time.
        seconds: For how long a key is remembered.
    """

    def __init__(self, *, records: Records, claims: Holding, seconds: float) -> None:
        self._records = records
        self._claims = claims
        self._seconds = seconds

    async def once(
        self,
        key: str,
        fingerprint: str,
        *,
        new: str,
        make: Callable[[], Awaitable[T]],
        find: Callable[[str], Awaitable[T | None]],
        name_of: Callable[[T], str],
        lasting: bool = True,
    ) -> T:
        """Gives what was made under a key, or makes it.

        What is to be made is written down first, so that a gateway that is killed in between leaves nothing that is
        made twice.

        Args:
            key: What the client sent; empty for none, then it is made.
            fingerprint: Stands for all else that the client sent.
            new: Id of what is to be made.
            make: Makes it.
            find: Gives what has an id; None where there is none.
            name_of: Gives the id of what was made, in case something else took its place.
            lasting: Whether what was made stays until somebody deletes it; else it is made again when it is over.

        Raises:
            KeyReused: Something else was asked under this key.
            ResultDeleted: What was made is gone: a request that is sent again does not bring it back.
        """
        if not key:
            return await make()
        name = f"{caller().key_id}\n{key}"
        async with self._claims.hold(f"idempotency\n{name}"):
            if (record := await self._records.get(name)) is not None:
                if record.fingerprint != fingerprint:
                    raise KeyReused(
                        "something else was sent with this Idempotency-Key before; take a new one for another request",
                        field="Idempotency-Key",
                    )
                if (found := await find(record.result)) is not None:
                    return found
                if record.made and lasting:
                    raise deleted(record.result)
            expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._seconds)
            await self._records.put(name, RequestKey(fingerprint, new, expires_at=expires_at, made=False))
            try:
                made = await make()
            except Exception:
                await self._records.remove(name)
                raise
            await self._records.put(name, RequestKey(fingerprint, name_of(made), expires_at=expires_at, made=True))
            return made


def deleted(result: str) -> ResultDeleted:
    """Gives the error that tells that what a key made is gone, or on its way."""
    return ResultDeleted(
        "what was made under this Idempotency-Key has been deleted; take a new one to make it again",
        field="Idempotency-Key",
        metadata={"id": result},
    )


def checked_key(text: str) -> str:
    """Gives the key that a header carries, in quotes or without; empty for none.

    Raises:
        InvalidArgument: It is over 256 characters, or has some that cannot be seen.
    """
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(key) > MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise InvalidArgument(
            f"an Idempotency-Key has at most {MAX_KEY_CHARS} printable ASCII characters; a UUID will do",
            field="Idempotency-Key",
        )
    return key


def fingerprint(*parts: object) -> str:
    """Gives what stands for a request."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
