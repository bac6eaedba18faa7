"""Settings that need reading."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.gateway.settings import Settings, parse_named_targets


@pytest.mark.parametrize(
    "text", ['[["a:1","b:1"],["c:1"]]', "s0r0=a:1,s0r1=b:1,s1r0=c:1", "s1r0=c:1 s0r1=b:1\ns0r0=a:1"]
)
def test_shard_targets_are_read_in_either_form(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EARMARK_SHARD_TARGETS", text)
    assert Settings().shard_targets == [["a:1", "b:1"], ["c:1"]]


@pytest.mark.parametrize("text", ["a:1", "s0r0=a:1,s0r0=b:1", "s1r0=a:1", "s0=a:1", "[[]]", '[[""]]', "[["])
def test_wrong_shard_targets_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EARMARK_SHARD_TARGETS", text)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize("text", ["", "[]"])
def test_without_targets_those_that_announce_themselves_are_asked(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EARMARK_SHARD_TARGETS", text)
    assert Settings().shard_targets == []


def test_replicas_come_in_order_of_their_numbers() -> None:
    assert parse_named_targets("s0r10=c:1,s0r2=b:1,s0r0=a:1") == [["a:1", "b:1", "c:1"]]
