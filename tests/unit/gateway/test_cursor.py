"""Opaque cursors."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.gateway.cursor import SearchCursor, decode_position, encode_position, fingerprint, seen_id
from services.gateway.paging import MAX_SEEN

BOUND = fingerprint("q", "hybrid", ())
DAMAGED = [
    base64.urlsafe_b64encode(b"\x02" + BOUND + rest).decode()
    for rest in (b"", b"\x00\x00\x00\x00abc", b"\xff" * 12, b"\x00\x00\x05\x00", b"\x00\x00\xff\xff\xff\x0f\x00")
]


@given(
    st.integers(0, 255),
    st.integers(0, 10**6),
    st.sets(st.text(min_size=1, max_size=30), max_size=30),
    st.dictionaries(st.integers(0, 255), st.integers(0, 2**63), max_size=64),
)
def test_a_search_cursor_comes_back_as_it_went(
    level: int, shown: int, videos: set[str], applied: dict[int, int]
) -> None:
    cursor = SearchCursor(level, shown, frozenset(map(seen_id, videos)), applied)
    text = cursor.encode(BOUND)
    assert SearchCursor.decode(text, BOUND) == cursor
    assert text.replace("-", "").replace("_", "").isalnum()


def test_a_cursor_fits_into_a_url() -> None:
    seen = frozenset(seen_id(str(number)) for number in range(MAX_SEEN))
    near = {shard: 10**9 + 17 * shard for shard in range(64)}
    assert len(SearchCursor(8, 10**6, seen, near).encode(BOUND)) < 5200


@given(st.text(min_size=1, max_size=40))
def test_a_position_comes_back_as_it_went(position: str) -> None:
    assert decode_position(encode_position(position, BOUND), BOUND) == position


def test_no_cursor_means_the_beginning() -> None:
    assert SearchCursor.decode("", BOUND) == SearchCursor()
    assert decode_position("", BOUND) == ""


def test_a_cursor_of_another_query_is_refused() -> None:
    other = fingerprint("other", "hybrid", ())
    with pytest.raises(InvalidArgument, match="another query"):
        SearchCursor.decode(SearchCursor(1).encode(BOUND), other)
    with pytest.raises(InvalidArgument, match="another filter"):
        decode_position(encode_position("x", BOUND), other)


@pytest.mark.parametrize("text", ["x", "%%%", "AAAA", "a" * 4000, "é", *DAMAGED])
def test_rubbish_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        SearchCursor.decode(text, BOUND)
    assert refused.value.field == "cursor"
    with pytest.raises(InvalidArgument):
        decode_position(text, fingerprint("nothing like it"))
