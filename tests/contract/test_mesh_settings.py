"""The embedded mesh configures services by environment: every variable it sets must be a setting of that service."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.local import services
from earmark.local.models import ModelPaths
from earmark.local.paths import DataDir
from tests.support.service_settings import settings_class, variables

INDEXERS = services.places(2, 2)
WIRING = services.Wiring(
    data=DataDir(Path("/data")),
    models=ModelPaths(asr="/models/asr", embedding="/models/embedding"),
    ports={name: 20_000 + number for number, name in enumerate((*services.port_names(INDEXERS), services.HTTP))},
    nats_url="nats://127.0.0.1:1",
    mongo_url="mongodb://127.0.0.1:2",
    object_store_url="file:///data/objects",
    cores=2,
)
TABLE = {spec.name: spec for spec in services.table(WIRING, servers=("nats", "mongo"), indexers=INDEXERS)}


@pytest.mark.parametrize("name", TABLE)
def test_every_variable_set_is_a_setting(name: str) -> None:
    spec = TABLE[name]
    set_here = {variable for variable in spec.environment if variable.startswith("EARMARK_")}
    assert set_here - variables(settings_class(spec.command[-1])) == set()


@pytest.mark.parametrize("name", TABLE)
def test_the_service_accepts_what_is_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in TABLE[name].environment.items():
        monkeypatch.setenv(variable, value)
    settings = settings_class(TABLE[name].command[-1])()
    assert settings.nats_url == WIRING.nats_url
    assert settings.object_store_url == WIRING.object_store_url
    assert settings.grpc_port == WIRING.ports[name]


def test_no_two_children_share_a_port_or_an_index() -> None:
    ports = [
        spec.environment[variable]
        for spec in TABLE.values()
        for variable in ("EARMARK_GRPC_PORT", "EARMARK_METRICS_PORT", "EARMARK_HTTP_PORT")
        if spec.environment.get(variable, "0") != "0"
    ]
    assert len(ports) == len(set(ports))
    indexers = [TABLE[place.child].environment for place in INDEXERS]
    assert len({indexer["EARMARK_INDEX_DIR"] for indexer in indexers}) == len(INDEXERS)


def test_indexers_say_who_they_are_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [place.child for place in INDEXERS] == ["indexer-0", "indexer-1", "indexer-0.1", "indexer-1.1"]
    for place in INDEXERS:
        assert services.Place.of(place.child) == place
        for variable, value in TABLE[place.child].environment.items():
            monkeypatch.setenv(variable, value)
        settings = settings_class(TABLE[place.child].command[-1])()
        assert (settings.shard, settings.replica) == place  # type: ignore[attr-defined]
        assert settings.advertise == f"127.0.0.1:{WIRING.ports[place.child]}"  # type: ignore[attr-defined]
    assert [services.Place.of(name) for name in ("indexer-0-metrics", "gateway", "indexer-x")] == [None] * 3


def test_the_gateway_knows_where_every_other_service_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in TABLE["gateway"].environment.items():
        monkeypatch.setenv(variable, value)
    settings = settings_class(TABLE["gateway"].command[-1])()
    assert settings.embedder_target == f"127.0.0.1:{WIRING.ports['embedder']}"  # type: ignore[attr-defined]
    assert settings.shard_targets == [], "the indexers announce themselves"  # type: ignore[attr-defined]
