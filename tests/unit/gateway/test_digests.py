"""Checksums that clients send along, and what tus says of a file."""

from __future__ import annotations

import base64
import hashlib

import pytest

from services.common.errors import ChecksumMismatch, InvalidArgument
from services.gateway.digests import checked_sha256, of_body, of_tus
from services.gateway.http.tus import details_of, metadata
from services.gateway.idempotency import checked_key

DATA = b"the yeast eats the sugar"
SHA256 = hashlib.sha256(DATA)
BASE64 = base64.b64encode(SHA256.digest()).decode()


def test_a_sha256_is_taken_as_hex_and_as_base64() -> None:
    assert checked_sha256(SHA256.hexdigest().upper()) == checked_sha256(f" {BASE64} ") == SHA256.hexdigest()
    assert checked_sha256("") == ""
    for wrong in ("x", SHA256.hexdigest()[:-1], base64.b64encode(b"short").decode()):
        with pytest.raises(InvalidArgument):
            checked_sha256(wrong)


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512", "md5"])
def test_a_part_is_compared_by_what_tus_names(name: str) -> None:
    digest = hashlib.new(name, DATA).digest()
    expected = of_tus(f"{name} {base64.b64encode(digest).decode()}")
    assert expected is not None
    expected.check(digest, "this part")
    with pytest.raises(ChecksumMismatch):
        expected.check(digest[::-1], "this part")


@pytest.mark.parametrize("header", ["sha1", "sha1 x", f"sha1 {BASE64}", f"crc32 {BASE64}", BASE64])
def test_another_form_of_checksum_is_refused(header: str) -> None:
    with pytest.raises(InvalidArgument):
        of_tus(header)


def test_a_body_is_compared_by_either_header() -> None:
    for headers in (
        {"content-digest": f"sha-256=:{BASE64}:"},
        {"content-digest": f"md5=:x:, SHA-256=:{BASE64}:"},
        {"digest": f"SHA-256={BASE64}"},
    ):
        expected = of_body(headers)
        assert expected is not None
        assert expected.digest == SHA256.digest()
    assert of_body({}) is of_body({"digest": "md5=x"}) is None
    with pytest.raises(InvalidArgument):
        of_body({"content-digest": "sha-256=:eA==:"})


def pair(name: str, value: str) -> str:
    return f"{name} {base64.b64encode(value.encode()).decode()}"


def test_what_tus_says_of_a_file() -> None:
    header = ",".join(
        pair(*said) for said in [("filename", "Brot.mp4"), ("filetype", "video/mp4"), ("title", "Wie Brot aufgeht ü")]
    )
    given = details_of(metadata(f"{header}, {pair('tags', 'bread,  baking')},duplicate YWxsb3c="))
    assert (given.filename, given.content_type, given.title) == ("Brot.mp4", "video/mp4", "Wie Brot aufgeht ü")
    assert (given.tags, given.duplicate) == (("bread", "baking"), True)
    assert details_of(metadata("relativePath")).title == ""


@pytest.mark.parametrize(
    "header",
    ["langauge ZW4=", "title x!", "title /w==", "filename YQ==,filename YQ==", "title " + "A" * 17_000],
)
def test_what_tus_says_wrong_is_refused(header: str) -> None:
    with pytest.raises(InvalidArgument):
        metadata(header)


def test_keys_of_requests() -> None:
    assert checked_key(' "abc" ') == checked_key("abc") == "abc"
    for wrong in ("x" * 257, "a\tb", "ü"):
        with pytest.raises(InvalidArgument):
            checked_key(wrong)
