"""Signed, expiring URLs, for what sends no headers: `<video src>`, captions, thumbnails, event streams.

A signature is HMAC-SHA256 over the path, the key it was made for and the time it ends. It lets one path be read with
that key's right to read and ends with the key. Other parameters (`format`, `t`, `download`) are free: they choose a
form of the same thing. A path is signed without its version, so that a link is good by both of its names.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from services.common.errors import Unauthenticated
from services.gateway.access.secrets import same
from services.gateway.versions import plain

PARAMETERS = ("key", "expires", "signature")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signed URL carries, as it came."""

    key_id: str
    expires: str
    signature: str


class Signer:
    """Signs paths, and checks what was signed.

    Args:
        secrets: The secret to sign with, and after it those whose signatures are still taken.
        seconds: For how long a URL is good, at least; at most half as long again.
        now: Seconds since 1970.
    """

    def __init__(self, secrets: Sequence[str], *, seconds: float, now: Callable[[], float] = time.time) -> None:
        if not secrets:
            raise ValueError("there is no secret to sign with")
        self._secrets = [secret.encode() for secret in secrets]
        self._seconds = max(1, round(seconds))
        self._now = now

    def for_key(self, key_id: str) -> Callable[[str], str]:
        """Gives what signs paths for a key."""
        return partial(self.sign, key_id)

    def sign(self, key_id: str, path: str) -> str:
        """Gives the path with its signature."""
        # The same URL for a while, so that a browser finds in its cache what it has seen.
        step = max(1, self._seconds // 2)
        expires = str((int(self._now()) // step + 1) * step + self._seconds)
        signature = _signature(self._secrets[0], path, key_id, expires)
        return f"{path}?{urlencode({'key': key_id, 'expires': expires, 'signature': signature})}"

    def check(self, path: str, given: Signature) -> None:
        """Refuses what was not signed here, or is over. Raises Unauthenticated."""
        if not (given.expires.isascii() and given.expires.isdigit() and len(given.expires) < 14):
            raise _refused("is not one of ours")
        if not any(
            same(_signature(secret, path, given.key_id, given.expires), given.signature) for secret in self._secrets
        ):
            raise _refused("is not one of ours")
        if int(given.expires) <= self._now():
            raise _refused("is over")


def _signature(secret: bytes, path: str, key_id: str, expires: str) -> str:
    return hmac.new(secret, f"{plain(path)}\n{key_id}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(
        f"this link {why}; ask for the video again, its `links` have a new one", reason="SIGNATURE_INVALID"
    )
