"""When a second replica is asked."""

from __future__ import annotations

import pytest

from services.gateway.fanout import HedgeDelay


def test_the_delay_becomes_what_most_searches_take() -> None:
    hedge = HedgeDelay(initial_seconds=1.0, floor_seconds=0.001)
    for index in range(320):
        hedge.observe(0.2 if index % 50 == 0 else 0.01)
    assert hedge.seconds == pytest.approx(0.01)


def test_the_delay_has_a_floor() -> None:
    hedge = HedgeDelay(initial_seconds=1.0, floor_seconds=0.005)
    for _ in range(64):
        hedge.observe(0.0002)
    assert hedge.seconds == 0.005


def test_hedges_are_at_most_a_tenth_of_the_searches() -> None:
    hedge = HedgeDelay()
    taken = 0
    for _ in range(1000):
        hedge.asked()
        taken += hedge.take()
    assert 100 <= taken <= 111
