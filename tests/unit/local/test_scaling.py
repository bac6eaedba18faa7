"""The local mesh follows the number of shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.local import mesh, services
from earmark.local.models import ModelPaths
from earmark.local.paths import DataDir
from earmark.local.process import ChildSpec
from earmark.local.scaling import IndexerScaler
from earmark.local.state import ChildState, MeshState


class Children:
    """Keeps specs instead of processes."""

    def __init__(self, state: MeshState) -> None:
        self.state = state
        self.specs: dict[str, ChildSpec] = {}

    def add(self, spec: ChildSpec) -> None:
        self.specs[spec.name] = spec
        self.state.children.append(ChildState(spec.name))

    async def remove(self, name: str) -> None:
        self.state.children = [child for child in self.state.children if child.name != name]


@pytest.fixture
def state() -> MeshState:
    running = ["nats", "transcriber", "indexer-0", "indexer-1", "gateway"]
    return MeshState(shards=2, replicas=1, ports={"indexer-0": 20_001}, children=[ChildState(name) for name in running])


def scaler(folder: Path, state: MeshState) -> tuple[IndexerScaler, Children, list[str]]:
    data, children, said = DataDir(folder), Children(state), []
    wiring = services.Wiring(
        data=data,
        models=ModelPaths(asr="asr", embedding="embedding"),
        ports=state.ports,
        nats_url="nats://127.0.0.1:1",
        mongo_url="mongodb://127.0.0.1:2",
        object_store_url="file:///objects",
        cores=2,
    )
    made = IndexerScaler(
        data=data,
        mesh=state,
        wiring=wiring,
        servers=("nats",),
        children=children,
        say=lambda _, event: said.append(event),
    )
    return made, children, said


async def test_new_shards_get_indexers_with_ports_and_folders_of_their_own(tmp_path: Path, state: MeshState) -> None:
    following, children, said = scaler(tmp_path, state)
    await following.follow(4)
    assert sorted(children.specs) == ["indexer-2", "indexer-3"]
    new = children.specs["indexer-3"].environment
    assert new["EARMARK_INDEXER_SHARD"] == "3"
    assert new["EARMARK_INDEX_DIR"] == str(tmp_path / "indexer-s3r0")
    assert new["EARMARK_ADVERTISE"] == f"127.0.0.1:{state.ports['indexer-3']}"
    assert children.specs["indexer-3"].needs == ("nats",)
    assert len(set(state.ports.values())) == len(state.ports) == 5
    assert MeshState.load(DataDir(tmp_path)).shards == 4, "the next start begins with as many"
    assert "the index has 4 shards now, 2 before" in said


async def test_indexers_of_shards_that_are_no_more_end_and_keep_their_ports(tmp_path: Path, state: MeshState) -> None:
    following, children, _ = scaler(tmp_path, state)
    await following.follow(3)
    port = state.ports["indexer-2"]
    await following.follow(1)
    assert [child.name for child in state.children] == ["nats", "transcriber", "indexer-0", "gateway"]
    await following.follow(3)
    assert state.ports["indexer-2"] == port
    assert sorted(child.name for child in state.children if child.name.startswith("indexer")) == [
        "indexer-0",
        "indexer-1",
        "indexer-2",
    ]
    assert len(children.specs) == 2


async def test_every_shard_has_all_its_replicas(tmp_path: Path, state: MeshState) -> None:
    state.replicas = 2
    following, children, _ = scaler(tmp_path, state)
    await following.follow(3)
    assert sorted(children.specs) == ["indexer-0.1", "indexer-1.1", "indexer-2", "indexer-2.1"]
    further = children.specs["indexer-2.1"].environment
    assert (further["EARMARK_INDEXER_SHARD"], further["EARMARK_INDEXER_REPLICA"]) == ("2", "1")
    assert further["EARMARK_INDEX_DIR"] == str(tmp_path / "indexer-s2r1")


async def test_nothing_happens_while_the_number_stays(tmp_path: Path, state: MeshState) -> None:
    following, children, said = scaler(tmp_path, state)
    await following.follow(2)
    assert (children.specs, said) == ({}, [])


def test_a_start_takes_the_number_of_shards_from_the_run_before() -> None:
    assert mesh._shards_before(MeshState()) == 0
    assert mesh._shards_before(MeshState(shards=5)) == 5
    older = {"nats": 1, "indexer-0": 2, "indexer-0-metrics": 3, "indexer-1": 4, "indexer-1-metrics": 5}
    assert mesh._shards_before(MeshState(ports=older)) == 2


def test_a_mesh_started_apart_is_told_its_options() -> None:
    options = mesh.MeshOptions(port=8080, shards=3, replicas=2)
    assert options.arguments() == ["--port", "8080", "--shards", "3", "--replicas", "2"]
    assert mesh.MeshOptions().arguments() == ["--port", "8080"]
