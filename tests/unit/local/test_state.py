from pathlib import Path

import pytest

from earmark.local import state as states
from earmark.local.paths import DataDir
from earmark.local.state import ChildState, MeshState


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path)


def test_state_comes_back_as_it_was(data: DataDir) -> None:
    mesh = MeshState(state=states.SERVING, pid=7, ports={"nats": 1}, children=[ChildState("nats", restarts=2)])
    mesh.save(data)
    assert MeshState.load(data) == mesh


@pytest.mark.parametrize("content", ["", "{", "[]", '{"children": 1}'])
def test_unreadable_state_counts_as_none(data: DataDir, content: str) -> None:
    data.run.mkdir()
    (data.run / "mesh.json").write_text(content)
    assert MeshState.load(data) == MeshState()


def test_state_of_another_version_is_read_as_far_as_it_is_known(data: DataDir) -> None:
    data.run.mkdir()
    child = '{"name": "nats", "pid": 3, "mood": "good"}'
    (data.run / "mesh.json").write_text('{"state": "serving", "newer": 1, "children": [' + child + "]}")
    assert MeshState.load(data) == MeshState(state=states.SERVING, children=[ChildState("nats", pid=3)])


def test_one_supervisor_at_a_time(data: DataDir) -> None:
    assert not states.is_held(data)
    with states.held(data):
        assert states.is_held(data)
        with pytest.raises(states.AlreadyRunning), states.held(data):
            pass
        assert states.is_held(data)  # the refused one has not given the lock away
    assert not states.is_held(data)


def test_state_of_a_dead_mesh_is_not_a_running_mesh(data: DataDir) -> None:
    MeshState(state=states.SERVING, pid=7).save(data)
    assert states.running(data) is None
    with states.held(data):
        assert states.running(data) is not None


def test_a_process_that_only_has_the_number_of_a_child_is_left_alone(data: DataDir) -> None:
    import os

    mine = ChildState("nats", pid=os.getpid(), started=states.start_ticks(os.getpid()) + 1)
    assert states.end_leftovers(MeshState(children=[mine])) == []


def test_data_dir_is_the_one_given_else_the_environment_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARMARK_DATA_DIR", raising=False)
    assert DataDir.resolve().root == tmp_path / ".earmark"
    monkeypatch.setenv("EARMARK_DATA_DIR", "/elsewhere")
    assert DataDir.resolve().root == Path("/elsewhere")
    assert DataDir.resolve(Path("given")).root == tmp_path / "given"
