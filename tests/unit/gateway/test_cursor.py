"""Opaque cursors."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.gateway.cursor import SearchCursor, decode_position, encode_position, fingerprint, seen_id

BOUND = fingerprint("q", "hybrid", ())


@given(st.integers(0, 255), st.sets(st.text(min_size=1, max_size=30), max_size=30))
def test_a_search_cursor_comes_back_as_it_went(page: int, videos: set[str]) -> None:
    cursor = SearchCursor(page, frozenset(map(seen_id, videos)))
    text = cursor.encode(BOUND)
    assert SearchCursor.decode(text, BOUND) == cursor
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text(min_size=1, max_size=40))
def test_a_position_comes_back_as_it_went(position: str) -> None:
    assert decode_position(encode_position(position, BOUND), BOUND) == position


def test_no_cursor_means_the_beginning() -> None:
    assert SearchCursor.decode("", BOUND) == SearchCursor(0, frozenset())
    assert decode_position("", BOUND) == ""


def test_a_cursor_of_another_query_is_refused() -> None:
    other = fingerprint("other", "hybrid", ())
    with pytest.raises(InvalidArgument, match="another query"):
        SearchCursor.decode(SearchCursor(1, frozenset()).encode(BOUND), other)
    with pytest.raises(InvalidArgument, match="another filter"):
        decode_position(encode_position("x", BOUND), other)


@pytest.mark.parametrize(
    "text", ["x", "%%%", "AAAA", "a" * 4000, "é", base64.urlsafe_b64encode(b"\x01\x00" + BOUND + b"abc").decode()]
)
def test_rubbish_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        SearchCursor.decode(text, BOUND)
    assert refused.value.field == "cursor"
    with pytest.raises(InvalidArgument):
        decode_position(text, fingerprint("nothing like it"))
