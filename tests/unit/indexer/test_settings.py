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


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "index"):
        with pytest.raises(FailedPrecondition) as refused, folder_lock(tmp_path / "index"):
            pass
        assert refused.value.reason == "INDEX_DIR_IN_USE"
    with folder_lock(tmp_path / "index"):
        pass
