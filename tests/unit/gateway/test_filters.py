"""Filters: what is accepted, what is refused, and what the shards are told."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from services.common.errors import InvalidArgument
from services.gateway.filters import SearchFilter

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def test_nothing_is_no_filter() -> None:
    assert SearchFilter.of().message() is None
    assert SearchFilter.of(language="  ").message() is None


def test_the_shards_are_told_all_of_it() -> None:
    message = SearchFilter.of(
        video_ids=[f"vid_{'0' * 26}"],
        language=" EN ",
        collections=["talks", "lectures", "talks"],
        speakers=["  Ada   Lovelace "],
        tags=["bread", "Yeast"],
        uploaded_since=NOON.replace(tzinfo=None),
        uploaded_before=NOON.astimezone(dt.timezone(dt.timedelta(hours=2))) + dt.timedelta(days=1),
        min_duration=0.0,
        max_duration=90.5,
    ).message()
    assert message is not None
    assert (list(message.video_ids), message.language) == ([f"vid_{'0' * 26}"], "en")
    assert list(message.collections) == ["lectures", "talks"]
    assert list(message.speakers) == ["Ada Lovelace"]
    assert list(message.tags) == ["Yeast", "bread"]
    assert message.uploaded_since.ToDatetime(tzinfo=dt.UTC) == NOON, "a time without a zone is UTC"
    assert message.uploaded_before.ToDatetime(tzinfo=dt.UTC) == NOON + dt.timedelta(days=1)
    assert message.HasField("min_duration"), "zero is said, not left out"
    assert (message.max_duration.seconds, message.max_duration.nanos) == (90, 500_000_000)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"language": "english"}, "language"),
        ({"language": "e1"}, "language"),
        ({"video_ids": ["vid_1"]}, "video_id"),
        ({"video_ids": [f"vid_{'0' * 26}"] * 101}, "video_id"),
        ({"collections": ["x"] * 101}, "collection"),
        ({"collections": ["a/b"]}, "collection"),
        ({"collections": [""]}, "collection"),
        ({"speakers": ["x"] * 101}, "speaker"),
        ({"speakers": [" \n"]}, "speaker"),
        ({"speakers": ["x" * 201]}, "speaker"),
        ({"tags": ["x"] * 101}, "tag"),
        ({"tags": ["ok", ""]}, "tag"),
        ({"uploaded_since": NOON, "uploaded_before": NOON - dt.timedelta(seconds=1)}, "uploaded_since"),
        ({"uploaded_since": dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=5)))}, "uploaded_since"),
        ({"uploaded_before": dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=5)))}, "uploaded_before"),
        ({"min_duration": -1.0}, "min_duration"),
        ({"min_duration": math.nan}, "min_duration"),
        ({"max_duration": math.inf}, "max_duration"),
        ({"max_duration": 1e10}, "max_duration"),
        ({"min_duration": 10.0, "max_duration": 9.9}, "min_duration"),
    ],
)
def test_what_is_wrong_is_refused_with_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        SearchFilter.of(**given)
    assert refused.value.field == field


def test_every_part_tells_one_filter_from_another() -> None:
    different = [
        {},
        {"language": "en"},
        {"video_ids": [f"vid_{'0' * 26}"]},
        {"collections": ["x"]},
        {"speakers": ["x"]},
        {"tags": ["x"]},
        {"uploaded_since": NOON},
        {"uploaded_before": NOON},
        {"min_duration": 5.0},
        {"max_duration": 5.0},
    ]
    assert len({SearchFilter.of(**given).key() for given in different}) == len(different)  # type: ignore[arg-type]
