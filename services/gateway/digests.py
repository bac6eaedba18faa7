"""Checksums that clients send along, so that what is stored is what they have."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import ChecksumMismatch, InvalidArgument

TUS_ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
_HTTP_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Expected:
    """A checksum, and what it is called."""

    algorithm: str
    """As hashlib names it."""
    digest: bytes

    def check(self, found: bytes, what: str, reason: str | None = None) -> None:
        """Compares with what was found. Raises ChecksumMismatch."""
        if found != self.digest:
            raise ChecksumMismatch(
                f"{what} has another {self.algorithm} checksum than was sent with it; send it again",
                reason=reason,
                metadata={"algorithm": self.algorithm, "found": found.hex()},
            )


def checked_sha256(text: str) -> str:
    """Gives a SHA-256 as lower-case hex, of hex or of base64; empty for none.

    Raises:
        InvalidArgument: It is neither.
    """
    given = text.strip()
    if not given or _HEX.fullmatch(given.lower()):
        return given.lower()
    digest = _base64(given)
    if digest is None or len(digest) != 32:
        raise InvalidArgument("sha256 is not 64 hexadecimal digits, nor 32 bytes as base64", field="sha256")
    return digest.hex()


def of_tus(header: str) -> Expected | None:
    """Reads tus' `Upload-Checksum`: an algorithm and base64; None where there is none.

    Raises:
        InvalidArgument: It is of another form, or the algorithm is unknown.
    """
    if not header.strip():
        return None
    name, _, text = header.strip().partition(" ")
    digest = _base64(text.strip())
    if name not in TUS_ALGORITHMS:
        known = ", ".join(TUS_ALGORITHMS)
        raise InvalidArgument(
            f"checksums by {name[:20]!r} are not known here; there are {known}", field="Upload-Checksum"
        )
    if digest is None or len(digest) != hashlib.new(name, usedforsecurity=False).digest_size:
        raise InvalidArgument(f"Upload-Checksum is not {name} and a checksum in base64", field="Upload-Checksum")
    return Expected(name, digest)


def of_body(headers: Mapping[str, str]) -> Expected | None:
    """Reads the checksum of a body from `Content-Digest` (RFC 9530) or, as it was before, `Digest` (RFC 3230).

    Only SHA-256 and SHA-512; others are passed over, as the RFCs have it.

    Raises:
        InvalidArgument: The checksum is not base64, or not of its length.
    """
    for field, bounds in (("content-digest", ":"), ("repr-digest", ":"), ("digest", "")):
        for part in headers.get(field, "").split(","):
            name, _, text = part.strip().partition("=")
            algorithm = _HTTP_ALGORITHMS.get(name.strip().lower())
            if algorithm is None:
                continue
            digest = _base64(text.strip().strip(bounds) if bounds else text.strip())
            if digest is None or len(digest) != hashlib.new(algorithm).digest_size:
                raise InvalidArgument(f"{field} is not a {name} checksum in base64", field=field)
            return Expected(algorithm, digest)
    return None


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
