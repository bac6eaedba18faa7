"""Sizes are reckoned as docs/sizing.md says, and grow with what is asked."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark.cli.app import app
from earmark.plan import Constants, ConstantsInvalid, Demand, Plan, plan
from earmark.plan.constants import PACKAGED
from earmark.plan.model import search_ms

KNOWN = Constants.read()
ROOT = Path(__file__).resolve().parents[3]


def made(hours: float = 100_000, qps: float = 50, **more: object) -> Plan:
    return plan(Demand(hours=hours, qps=qps, **more), KNOWN)  # type: ignore[arg-type]


def part(found: Plan, name: str) -> dict[str, float]:
    (only,) = (one for one in found.parts if one.name == name)
    return {key: value for key, value in dataclasses.asdict(only).items() if isinstance(value, int | float)}


def test_a_hundred_thousand_hours_are_reckoned_by_hand() -> None:
    found = made()
    assert found.chunks == 100_000 * 120
    assert (found.shards, found.replicas) == (6, 2)
    # 2 million chunks: one doubling beyond the last point, 5.5 ms in 3.32 doublings before it
    assert found.slowest_shard_ms == pytest.approx(11.7 + 5.5 / 3.3219, abs=0.01)
    assert found.search_core_ms == pytest.approx(6 * 13.36 + 3 + 6 * 0.47 + 11, abs=0.1)
    assert part(found, "indexer")["pods"] == 12
    assert part(found, "indexer")["memory_gib"] == pytest.approx(0.35 + 2e6 * 3413 / 2**30, abs=0.01)
    assert part(found, "indexer")["disk_gib"] == pytest.approx(2e6 * 4900 * 3 / 2**30, abs=0.1)
    assert found.backfill_gpu_hours == pytest.approx(100_000 / 60)
    assert found.backfill_pods == 4
    assert found.object_gib == pytest.approx(100_000 * (0.9 + 55 / 1024 + 120 * 4900 / 2**30), rel=1e-6)
    assert found.monthly_total == pytest.approx(sum(found.monthly.values()))
    cores = 730 * 0.034 * sum(one.pods * one.cores for one in found.parts)
    assert found.monthly["cores"] == pytest.approx(cores)


def test_a_billion_chunks_fit_the_slots_and_say_what_was_never_measured() -> None:
    found = made(hours=1e9 / 120, qps=1000)
    assert found.chunks == pytest.approx(1e9)
    assert found.shards == 256
    assert found.chunks_per_shard == pytest.approx(1e9 / 256)
    assert found.replicas > 2, "a thousand searches a second ask each shard more than two pods can answer"
    said = " ".join(found.beyond_measured)
    for what in ("chunks", "256 shards", "GPU", "searches a second"):
        assert what in said


@pytest.mark.parametrize("qps", [0, 1, 50, 5000])
def test_more_hours_and_more_searches_never_take_less(qps: float) -> None:
    plans = [made(hours=hours, qps=qps) for hours in (1, 100, 10_000, 1_000_000, 10_000_000)]
    for less, more in itertools.pairwise(plans):
        assert more.shards >= less.shards
        for what in ("memory_gib", "disk_gib"):
            assert more.total(what) >= less.total(what)
        assert more.monthly_total > less.monthly_total
    busier = made(hours=10_000, qps=qps + 1000)
    assert busier.replicas >= plans[2].replicas
    assert busier.monthly_total > plans[2].monthly_total


def test_no_size_is_too_small_to_survive_a_pod() -> None:
    found = made(hours=0.01, qps=0)
    for name in ("gateway", "embedder", "indexer"):
        assert part(found, name)["pods"] >= 2
    assert part(found, "nats")["pods"] == part(found, "mongodb")["pods"] == 3


def test_cpus_in_place_of_gpus_and_transcripts_in_place_of_media() -> None:
    gpu, cpu, words = made(), made(gpu=False), made(media=False)
    assert gpu.total("gpus") >= 1
    assert (cpu.total("gpus"), cpu.backfill_gpu_hours) == (0, 0)
    assert cpu.backfill_core_hours == pytest.approx(gpu.backfill_core_hours + 100_000 / 8.6, rel=1e-6)
    assert words.object_gib < gpu.object_gib / 10


def test_what_comes_in_each_month_has_its_recognizers() -> None:
    assert part(made(new_hours_per_month=0), "recognizer")["pods"] == 1
    # 730 hours a month are one hour an hour: a sixtieth of a GPU; 60 x 0.6 times that fill one.
    assert part(made(new_hours_per_month=730 * 36), "recognizer")["pods"] == 1
    assert part(made(new_hours_per_month=730 * 37), "recognizer")["pods"] == 2


def test_between_points_time_grows_with_the_logarithm() -> None:
    points = [[1_000, 1.0], [10_000, 2.0], [100_000, 4.0]]
    assert search_ms(10, points) == 1.0
    assert search_ms(1_000, points) == 1.0
    assert search_ms(10_000, points) == pytest.approx(2.0)
    assert search_ms(31_623, points) == pytest.approx(3.0, abs=1e-4)
    assert search_ms(1_000_000, points) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("gpu_hour = 0.75", "gpu_hour = 0"), "gpu_hour"),
        (("gpu_hour = 0.75", "gpu_hours = 0.75"), "lacks gpu_hour"),
        (("gpu_hour = 0.75", "gpu_hour = 0.75\nfees = 1"), "fees"),
        (("[load]", "[burden]"), "lacks load"),
        (("[[20_000, 4.0], ", "[[200_000, 4.0], "), "search_core_ms"),
        (("[prices]", "[prices"), "TOML"),
    ],
)
def test_a_file_of_constants_that_is_wrong_is_refused_and_says_where(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    text = PACKAGED.read_text()
    assert change[0] in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(*change))
    with pytest.raises(ConstantsInvalid, match=re.escape(said)):
        Constants.read(path)


def test_the_command_shows_it_and_gives_it_to_programs() -> None:
    shown = CliRunner().invoke(app, ["plan", "--hours", "100000", "--qps", "50"])
    assert shown.exit_code == 0
    for said in ("12,000,000 chunks", "6 x 2 indexers", "1,667 GPU hours", "A month: about"):
        assert said in shown.output
    told = CliRunner().invoke(app, ["plan", "--hours", "100000", "--qps", "50", "--json"])
    assert json.loads(told.output)["shards"] == 6
    assert json.loads(told.output)["monthly_total"] == pytest.approx(made().monthly_total)


def test_prices_of_ones_own_change_the_sum(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PACKAGED.read_text().replace("core_hour = 0.034", "core_hour = 0.34"))
    mine = plan(Demand(hours=100, qps=1), Constants.read(path))
    assert mine.monthly["cores"] == pytest.approx(10 * made(hours=100, qps=1).monthly["cores"])


def test_every_constant_is_in_the_docs() -> None:
    docs = (ROOT / "docs" / "sizing.md").read_text()
    for section in dataclasses.fields(Constants):
        for name in dataclasses.asdict(getattr(KNOWN, section.name)):
            assert f"`{name}`" in docs, name
