"""Opaque cursors, bound to what they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from services.common.errors import InvalidArgument

_VERSION = 1
_BOUND_BYTES = 8
_SEEN_BYTES = 6


def fingerprint(*parts: object) -> bytes:
    """Returns 8 bytes that stand for a query with its filter."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=_BOUND_BYTES).digest()


def seen_id(video_id: str) -> bytes:
    """Returns 6 bytes that stand for a video in a cursor."""
    return hashlib.blake2b(video_id.encode(), digest_size=_SEEN_BYTES).digest()


@dataclass(frozen=True, slots=True)
class SearchCursor:
    """Where a search goes on: which videos it has shown and how deep it has to look.

    The shown videos themselves, not their number: the index changes between two pages and fused ranks change with
    depth, and still no video comes twice and none is passed over.
    """

    page: int
    seen: frozenset[bytes]

    def encode(self, bound: bytes) -> str:
        """Returns the cursor as text, for use with the query that has the fingerprint `bound`."""
        return _encode(bytes([_VERSION, min(self.page, 255)]) + bound + b"".join(sorted(self.seen)))

    @classmethod
    def decode(cls, text: str, bound: bytes) -> SearchCursor:
        """Reads a cursor.

        Raises:
            InvalidArgument: It is not one of ours, or was made for another query or filter.
        """
        if not text:
            return cls(page=0, seen=frozenset())
        raw = _decode(text)
        head = 2 + _BOUND_BYTES
        if len(raw) < head or raw[0] != _VERSION or (len(raw) - head) % _SEEN_BYTES:
            raise _refused("is not one of ours")
        if raw[2:head] != bound:
            raise _refused("belongs to another query or filter")
        seen = frozenset(raw[at : at + _SEEN_BYTES] for at in range(head, len(raw), _SEEN_BYTES))
        return cls(page=raw[1], seen=seen)


def encode_position(position: str, bound: bytes) -> str:
    """Returns a cursor that goes on behind `position` in a list with the fingerprint `bound`."""
    return _encode(bytes([_VERSION]) + bound + position.encode())


def decode_position(text: str, bound: bytes) -> str:
    """Reads a cursor of a list; the empty one means the beginning.

    Raises:
        InvalidArgument: It is not one of ours, or was made for another filter.
    """
    if not text:
        return ""
    raw = _decode(text)
    head = 1 + _BOUND_BYTES
    if len(raw) <= head or raw[0] != _VERSION:
        raise _refused("is not one of ours")
    if raw[1:head] != bound:
        raise _refused("belongs to another filter")
    try:
        return raw[head:].decode()
    except UnicodeDecodeError:
        raise _refused("is not one of ours") from None


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused("is not one of ours") from None


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(f"the cursor {why}; leave it out to begin again", field="cursor")
