import os
import socket
from collections.abc import Iterator

import pytest

from earmark.local import ports


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind((ports.HOST, 0))
        server.listen()
        yield server


def test_a_port_somebody_listens_on_is_not_free(listener: socket.socket) -> None:
    taken = listener.getsockname()[1]
    assert not ports.is_free(taken)
    listener.close()
    assert ports.is_free(taken)


def test_next_free_goes_past_taken_ones(listener: socket.socket) -> None:
    taken = listener.getsockname()[1]
    assert ports.next_free(taken) > taken


def test_the_holder_of_a_port_is_named(listener: socket.socket) -> None:
    who = ports.holder(listener.getsockname()[1])
    assert who is not None
    assert who.endswith(f"(process {os.getpid()})")
    assert ports.holder(1) is None


def test_assigned_ports_are_kept_and_differ(listener: socket.socket) -> None:
    first = ports.assign(["a", "b", "c"], {})
    assert len(set(first.values())) == 3
    assert ports.assign(["a", "b", "c"], first) == first
    moved = ports.assign(["a", "b"], {**first, "a": listener.getsockname()[1]})
    assert moved["a"] != listener.getsockname()[1]
    assert moved["b"] == first["b"]


def test_assigned_ports_avoid_those_spoken_for() -> None:
    kept = ports.assign(["a"], {})
    assert ports.assign(["b"], {"b": kept["a"]}, taken=kept.values())["b"] != kept["a"]
