"""The text of a key: made once, told apart, compared without a hint to who guesses."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

_SECRET_BYTES = 32
_KEY = re.compile(r"earmark_(key[0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class KeyText(NamedTuple):
    """A key as its owner has it: `earmark_<key_id>_<secret>`."""

    key_id: str
    secret: str

    def __str__(self) -> str:
        return f"earmark_{self.key_id}_{self.secret}"

    def __repr__(self) -> str:  # it may come to stand in a log
        return f"KeyText({self.key_id!r}, …)"

    @property
    def digest(self) -> str:
        """SHA-256 of the secret, lower-case hex."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @classmethod
    def new(cls) -> KeyText:
        """Makes a key, with 256 random bits."""
        return cls(f"key{secrets.token_hex(8)}", secrets.token_urlsafe(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> KeyText | None:
        """Reads a key; None when it does not have the form of one."""
        match = _KEY.fullmatch(text)
        return cls(match[1], match[2]) if match else None


def same(one: str, other: str) -> bool:
    """Compares in a time that says nothing about where two texts differ."""
    return hmac.compare_digest(one.encode(), other.encode())
