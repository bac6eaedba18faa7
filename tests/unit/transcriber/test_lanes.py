"""Threads of one recognition: as many as are allowed, and the same results with any number of them."""

import threading

import pytest

from services.transcriber.lanes import Lanes

pause = threading.Event().wait


def test_alone_the_caller_does_all_of_it_in_order() -> None:
    done: list[tuple[int, int]] = []
    lanes = Lanes(4)
    assert lanes.map(lambda item: done.append((item, threading.get_ident())) or item * 2, range(5)) == [0, 2, 4, 6, 8]
    assert done == [(item, threading.get_ident()) for item in range(5)]
    assert lanes.map(str, []) == []


def test_two_threads_work_at_once_and_results_keep_their_order() -> None:
    lanes = Lanes(2)
    lanes.allow(8)  # no more than there can ever be
    meet = threading.Barrier(2, timeout=30)

    def work(item: int) -> int:
        meet.wait()  # a single thread would wait in vain
        pause(0.01 * (item % 2))
        return item

    assert lanes.map(work, range(6)) == list(range(6))


def test_a_thread_that_is_allowed_in_the_middle_of_a_piece_begins_at_once() -> None:
    lanes = Lanes(2)
    meet = threading.Barrier(2, timeout=30)

    def work(item: int) -> int:
        if item == 0:
            threading.Timer(0.05, lanes.allow, [2]).start()
        meet.wait()
        return threading.get_ident()

    mine, other = lanes.map(work, range(2))
    assert mine == threading.get_ident() != other


def test_a_thread_that_is_one_too_many_ends_after_its_piece() -> None:
    lanes = Lanes(2)
    lanes.allow(2)
    meet = threading.Barrier(2, timeout=30)

    def work(item: int) -> int:
        if item < 2:
            meet.wait()
            lanes.allow(1)
            meet.wait()
        return threading.get_ident()

    assert set(lanes.map(work, range(20))[2:]) == {threading.get_ident()}


def test_inner_work_takes_no_more_threads_than_are_allowed() -> None:
    lanes = Lanes(4)
    lanes.allow(3)
    running, most, lock = 0, 0, threading.Lock()

    def inner(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pause(0.002)
        with lock:
            running -= 1
        return item

    def outer(item: int) -> int:
        return sum(lanes.map(inner, range(item, item + 5)))

    assert lanes.map(outer, range(6)) == [5 * item + 10 for item in range(6)]
    assert 2 <= most <= 3


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_after_an_error_nothing_more_is_begun_and_the_next_goes_well(bad: int) -> None:
    lanes = Lanes(2)
    lanes.allow(2)
    begun: list[int] = []
    meet = threading.Barrier(2, timeout=30)

    def work(item: int) -> int:
        begun.append(item)
        if item < 2:
            meet.wait()
        if item == bad:
            raise ValueError(f"no {item}")
        pause(0.01)
        return item

    with pytest.raises(ValueError, match=f"no {bad}"):
        lanes.map(work, range(100))
    assert len(begun) <= bad + 4
    assert lanes.map(str, range(3)) == ["0", "1", "2"]
