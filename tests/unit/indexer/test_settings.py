import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.common.errors import FailedPrecondition
from services.indexer.folder_lock import folder_lock
from services.indexer.settings import Settings


@pytest.mark.parametrize(
    ("ordinal", "shards", "shard", "replica"), [(0, 2, 0, 0), (1, 2, 1, 0), (2, 2, 0, 1), (5, 3, 2, 1), (4, 1, 0, 4)]
)
def test_ordinal_says_shard_and_replica(ordinal: int, shards: int, shard: int, replica: int) -> None:
    settings = Settings(indexer_ordinal=ordinal, shards=shards)
    assert (settings.shard, settings.replica) == (shard, replica)


def test_ordinal_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_INDEXER_ORDINAL", "3")
    monkeypatch.setenv("EARMARK_SHARDS", "2")
    settings = Settings()
    assert (settings.shard, settings.replica) == (1, 1)


def test_ordinal_comes_from_the_pods_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "indexer-7.indexer.earmark.svc")
    assert Settings(shards=4).indexer_ordinal == 7


def test_without_either_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "laptop")
    with pytest.raises(ValidationError, match="EARMARK_INDEXER_ORDINAL"):
        Settings()


# Two shards of two replicas, which became three: the new shard's are at the end.
GROWN = "s0r0,s1r0,s0r1,s1r1,s2r0,s2r1"


@pytest.mark.parametrize(
    ("ordinal", "shard", "replica"),
    # Beyond the end: further replicas, of every shard in turn.
    [(0, 0, 0), (1, 1, 0), (2, 0, 1), (3, 1, 1), (4, 2, 0), (5, 2, 1), (6, 0, 2), (7, 1, 2), (8, 2, 2), (9, 0, 3)],
)
def test_an_ordinal_keeps_the_place_it_was_given(ordinal: int, shard: int, replica: int) -> None:
    settings = Settings(indexer_ordinal=ordinal, shards=2, indexer_places=GROWN)  # type: ignore[arg-type]  # as the environment gives it
    assert (settings.shard, settings.replica) == (shard, replica)
    assert not settings.numbered_by_shards


def test_places_come_from_the_environment_and_none_means_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_INDEXER_PLACES", "s1r0, s0r0")
    assert Settings(indexer_ordinal=0).shard == 1
    monkeypatch.setenv("EARMARK_INDEXER_PLACES", "")
    assert Settings(indexer_ordinal=3, shards=2).shard == 1
    assert Settings(indexer_ordinal=3, shards=2).numbered_by_shards
    assert not Settings(indexer_shard=1, indexer_replica=0).numbered_by_shards


@pytest.mark.parametrize("text", ["s0", "0r0", "s0r0,s0r0", "s0r0;s1r0"])
def test_places_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"form s<shard>r<replica>|same place"):
        Settings(indexer_ordinal=0, indexer_places=text)  # type: ignore[arg-type]


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "index"):
        with pytest.raises(FailedPrecondition) as refused, folder_lock(tmp_path / "index"):
            pass
        assert refused.value.reason == "INDEX_DIR_IN_USE"
    with folder_lock(tmp_path / "index"):
        pass
