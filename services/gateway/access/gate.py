"""Finds out who calls: by a key, by a signed URL, or not at all where no key is needed."""

from __future__ import annotations

import datetime as dt
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter

from services.common.api_keys import ApiKey
from services.common.errors import EarmarkError, Unauthenticated
from services.gateway import faults
from services.gateway.access.bucket import Buckets
from services.gateway.access.caller import ANYBODY, Caller, Scope
from services.gateway.access.secrets import KeyText, same
from services.gateway.access.signing import Signature, Signer

log = structlog.get_logger()

ADMIN_KEY_ID = "admin_key"
"""Stands for the key of the setting, which is in no database."""
STALE_SECONDS = 300.0
"""While the database is away, keys seen no longer ago than this hold: a search does not need it otherwise."""
_MOST_KEYS = 10_000
REFUSED = Counter("earmark_gateway_refused_total", "Requests refused for who made them.", ["reason"])


class KeyStore(Protocol):
    """Where keys are."""

    async def get(self, key_id: str) -> ApiKey | None:
        """Gives a key, also one that was revoked."""
        ...


class Gate(Protocol):
    """Says who calls."""

    @property
    def open(self) -> bool:
        """Whether nobody needs a key."""
        ...

    async def admit(self, key: str, signature: Signature | None = None, *, path: str = "") -> Caller:
        """Gives who calls with this key, or with this signature of `path`.

        Raises:
            Unauthenticated: There is neither, or it does not hold.
            RateLimited: The key calls too often.
        """
        ...


class OpenGate:
    """Lets everybody in: on loopback, or behind a proxy that asks who it is."""

    open = True

    async def admit(self, key: str, signature: Signature | None = None, *, path: str = "") -> Caller:  # noqa: ARG002
        """Gives the one who may do everything."""
        return ANYBODY


class _Seen(NamedTuple):
    key: ApiKey | None
    at: float


class KeyGate:
    """Lets in who has a key.

    Args:
        keys: Where keys are.
        signer: Checks signed URLs, and makes those of callers.
        admin_key: Text of the key that a setting gives; None for none.
        cache_seconds: For how long a key is not looked up again: so much later a revocation holds at each gateway.
        requests_per_second: Of a key that says nothing of its own.
        now: Says what time it is.
        clock: Seconds on a clock that never goes back.
    """

    open = False

    def __init__(
        self,
        *,
        keys: KeyStore,
        signer: Signer,
        admin_key: str | None,
        cache_seconds: float,
        requests_per_second: float,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._signer = signer
        self._admin_key = admin_key
        self._cache_seconds = cache_seconds
        self._requests_per_second = requests_per_second
        self._now = now
        self._clock = clock
        self._buckets = Buckets(clock)
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def admit(self, key: str, signature: Signature | None = None, *, path: str = "") -> Caller:
        """Gives who calls; see `Gate`."""
        try:
            if key:
                return await self._by_key(key)
            if signature is not None:
                return await self._by_signature(signature, path)
            raise Unauthenticated("a key is needed; send it as Authorization: Bearer earmark_…")
        except EarmarkError as error:
            REFUSED.labels(error.reason).inc()
            raise

    def forget(self, key_id: str) -> None:
        """Has a key looked up again when it is used next: it was revoked."""
        self._seen.pop(key_id, None)

    async def _by_key(self, text: str) -> Caller:
        if self._admin_key is not None and same(text, self._admin_key):
            return Caller(ADMIN_KEY_ID, frozenset(Scope), link=self._signer.for_key(ADMIN_KEY_ID))
        given = KeyText.parse(text)
        key = await self._find(given.key_id) if given else None
        # One message for all that is wrong: which it is helps only who guesses.
        if given is None or key is None or not same(key.digest, given.digest) or not self._holds(key):
            raise Unauthenticated("this key does not hold: it is wrong, over or revoked", reason="KEY_INVALID")
        return self._caller(key)

    async def _by_signature(self, signature: Signature, path: str) -> Caller:
        self._signer.check(path, signature)
        read = frozenset({Scope.READ})
        if signature.key_id == ADMIN_KEY_ID and self._admin_key is not None:
            return Caller(ADMIN_KEY_ID, read, link=self._signer.for_key(ADMIN_KEY_ID))
        key = await self._find(signature.key_id)
        if key is None or not self._holds(key):
            raise Unauthenticated("the key this link was made for does not hold any more", reason="KEY_INVALID")
        who = self._caller(key)
        who.check(Scope.READ)
        return replace(who, scopes=read)

    def _caller(self, key: ApiKey) -> Caller:
        self._buckets.take(key.key_id, key.requests_per_second or self._requests_per_second)
        return Caller(
            key_id=key.key_id,
            scopes=frozenset(Scope(scope) for scope in key.scopes),
            collections=None if key.collections is None else frozenset(key.collections),
            default_collection=key.default_collection,
            bytes_per_day=key.bytes_per_day,
            videos_per_day=key.videos_per_day,
            link=self._signer.for_key(key.key_id),
        )

    def _holds(self, key: ApiKey) -> bool:
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > self._now())

    async def _find(self, key_id: str) -> ApiKey | None:
        seen = self._seen.get(key_id)
        age = self._clock() - seen.at if seen else 0.0
        if seen and age < self._cache_seconds:
            return seen.key
        try:
            found = await self._keys.get(key_id)
        except Exception as error:
            if seen is None or age > STALE_SECONDS or faults.known(error) is None:
                raise
            log.warning("key_not_looked_up", key_id=key_id, error=repr(error))
            return seen.key
        self._seen[key_id] = _Seen(found, self._clock())
        self._seen.move_to_end(key_id)
        if len(self._seen) > _MOST_KEYS:
            self._seen.popitem(last=False)
        return found
