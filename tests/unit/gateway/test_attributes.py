"""Titles, collections and tags as people type them."""

import sys
import unicodedata

import pytest

from services.common.errors import InvalidArgument
from services.gateway.attributes import checked_collection, checked_tags, checked_title, one_line


def test_a_title_is_one_line() -> None:
    assert checked_title(" How\tbread\nrises\x00 ") == "How bread rises"
    assert checked_title("") == checked_title(" \n") == ""
    assert checked_title("x" * 300) == "x" * 300


def test_a_long_title_is_refused_and_not_cut() -> None:
    with pytest.raises(InvalidArgument, match=r"5000 characters, at most 300") as refused:
        checked_title("x" * 5000)
    assert (refused.value.field, refused.value.reason) == ("title", "TITLE_TOO_LONG")


@pytest.mark.parametrize("name", ["", "talks", "talks-2026_v1.2", "x" * 64])
def test_names_of_collections(name: str) -> None:
    assert checked_collection(f" {name} ") == name


@pytest.mark.parametrize(
    ("name", "advice"),
    [("my talks/2026", "'my-talks-2026'"), ("x" * 65, "x" * 64), ("Über", "'ber'"), ("→", "at most 64")],
)
def test_what_to_do_about_a_wrong_collection(name: str, advice: str) -> None:
    with pytest.raises(InvalidArgument, match=r"letter A-Z or a-z, a digit") as refused:
        checked_collection(name)
    assert refused.value.field == "collection"
    assert advice in refused.value.message


def test_tags_are_trimmed_and_each_there_once() -> None:
    # The second é is e with a combining accent: they look the same, so they are the same.
    assert checked_tags([" café ", "", "cafe\u0301", "Bread", "bread", "👩\u200d🍳"]) == (
        "café",
        "Bread",
        "bread",
        "👩\u200d🍳",
    )
    assert checked_tags([str(n % 32) for n in range(1000)]) == tuple(str(n) for n in range(32))


@pytest.mark.parametrize(
    ("tags", "message"),
    [([str(n) for n in range(33)], "more than 32"), (["x" * 65], "65 characters"), (["a\nb"], "line break")],
)
def test_wrong_tags(tags: list[str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as refused:
        checked_tags(tags)
    assert refused.value.field == "tags"


def test_what_cannot_be_shown_is_of_these_categories_and_no_others() -> None:
    unshown = {"Cc", "Cs", "Zl", "Zp"}
    kept = [char for char in map(chr, range(sys.maxunicode + 1)) if not char.isspace() or char == " "]
    wrong = [
        char
        for char in kept
        if (one_line(f"a{char}b") == "a b") != (unicodedata.category(char) in unshown or char == " ")
    ]
    assert wrong == []
