"""`earmark shards`, run as a process would, against a stub gateway."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from earmark import cli
from earmark.cli import common
from earmark.cli import shards as command
from earmark.cli.shard_views import ranges
from tests.unit.cli.stub_gateway import StubGateway, stub_gateway

Run = Callable[..., tuple[int, str, str]]
LOADS = {
    "before": [{"shard": 0, "slots": 128, "chunks": 600}, {"shard": 1, "slots": 128, "chunks": 400}],
    "after": [{"shard": shard, "slots": 85, "chunks": 333} for shard in range(3)],
}
PLAN = {"shards": 3, "slots": 85, "chunks": 1330, "moves": [], **LOADS}


@pytest.fixture
def gateway() -> Iterator[StubGateway]:
    with stub_gateway() as server:
        server.plan = PLAN
        server.index = [index()]
        yield server


@pytest.fixture
def earmark(
    gateway: StubGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    monkeypatch.setenv("EARMARK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("EARMARK_URL", gateway.url)
    monkeypatch.setattr(command, "_LOOK_SECONDS", 0.01)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["earmark", "shards", *arguments])
        for name, to_stderr in (("out", False), ("err", True)):
            monkeypatch.setattr(common, name, Console(stderr=to_stderr, highlight=False, width=200))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def replica(number: int = 0, **more: Any) -> dict[str, Any]:
    said = {"answers": True, "problem": None, "ready": True, "chunk_count": 1234, "lag": 2, "segments": [{}, {}]}
    return {"replica": number, "target": "127.0.0.1:1", "rebuilds": 0, "rebuilding": False, **said, **more}


def index(
    *, left: int | None = None, moves: int = 0, reason: str | None = None, waiting: str = "", replicas: Any = None
) -> dict[str, Any]:
    goal = {"shards": 3, "set_at": "2026-01-01T00:00:00Z", "slots_total": 85, "slots_left": left}
    return {
        "version": 5,
        "shards_total": 2,
        "stream_sequence": 9,
        "shards": [
            {"shard": 0, "slots": list(range(128)), "replicas": replicas or [replica()]},
            {"shard": 1, "slots": list(range(128, 256)), "replicas": []},
        ],
        "moves": [
            {"slot": slot, "source": 0, "target": 2, "phase": "copying", "reason": reason} for slot in range(moves)
        ],
        "goal": None if left is None else {**goal, "waiting": [waiting] if waiting else []},
    }


def hit(chunk_id: str, semantic: float | None = None, *more: Any, bm25: float | None = None) -> dict[str, Any]:
    legs = {"semantic": semantic, "keyword": bm25}
    scores = {name: None if score is None else {"score": score, "rank": 1} for name, score in legs.items()}
    times = {"start_time": 0.0, "end_time": 1.0, "match_time": 0.0}
    return {
        "video_id": f"vid_{chunk_id[0]}",
        "title": "T",
        "chunk_id": chunk_id,
        "text": "x",
        "score": 0.03,
        "scores": scores,
        "more": list(more),
    } | times


def digests(*contents: str, sequence: int = 9, problem: str | None = None) -> dict[str, Any]:
    slots = [{"slot": slot, "chunk_count": 3, "digest": content} for slot, content in enumerate(contents)]
    return {
        "stream_sequence": sequence,
        "replicas": [{"shard": 0, "replica": 0, "problem": problem, "slots": [] if problem else slots}],
    }


def test_status_shows_shards_replicas_and_trouble(earmark: Run, gateway: StubGateway) -> None:
    gateway.index = [index(replicas=[replica(), replica(1, answers=False, problem="does not answer")])]
    code, out, _ = earmark("status")
    assert code == 0
    for shown in ("s0r0", "1,234", "ready", "s0r1", "does not answer", "no indexer has announced", "slot table 5"):
        assert shown in out


def test_status_groups_moves_and_says_why_they_wait(earmark: Run, gateway: StubGateway) -> None:
    gateway.index = [index(left=60, moves=3, reason="s2r0 still copies it", waiting="no replica of shard 3 answers")]
    _, out, err = earmark("status")
    assert "25 of 85 slots in place, 3 copying" in out
    assert "0-2" in out
    assert "s2r0 still copies it" in out
    assert "no replica of shard 3 answers" in err


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["3"], {"shards": 3}),
        (["--move", "3,0-1", "--to", "1"], {"moves": [{"slots": [0, 1, 3], "to": 1}]}),
    ],
)
def test_plan_changes_nothing(earmark: Run, gateway: StubGateway, arguments: list[str], asked: Any) -> None:
    code, out, _ = earmark("plan", *arguments)
    assert (code, gateway.posted) == (0, [("plan", asked)])
    assert "85 slots with 1,330 chunks move" in out


@pytest.mark.parametrize(
    "arguments",
    [["plan"], ["plan", "3", "--move", "1"], ["plan", "--move", "1"], ["rebuild"], ["move", "x", "--to", "1"]],
)
def test_half_a_command_is_refused(earmark: Run, gateway: StubGateway, arguments: list[str]) -> None:
    code, _, err = earmark(*arguments)
    assert (code, gateway.posted) == (1, [])
    assert "error:" in err


def test_scale_follows_until_every_slot_is_in_place(earmark: Run, gateway: StubGateway) -> None:
    gateway.index = [index(left=85, waiting="no replica of shard 2 answers"), index(left=40, moves=2), index()]
    code, out, _ = earmark("scale", "3")
    assert (code, gateway.posted) == (0, [("scale", {"shards": 3})])
    assert "0 of 85 slots in place (no replica of shard 2 answers)" in out
    assert "45 of 85 slots in place, 2 copying" in out
    assert "every slot in its place" in out


def test_scale_for_programs_prints_json_alone(earmark: Run, gateway: StubGateway) -> None:
    gateway.index = [index(left=40), index()]
    code, out, _ = earmark("scale", "3", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["plan"]["slots"] == 85
    assert answer["index"]["goal"] is None


def test_scale_can_return_at_once(earmark: Run, gateway: StubGateway) -> None:
    gateway.index = [index(left=85)]
    code, out, _ = earmark("scale", "3", "--detach")
    assert code == 0
    assert "earmark shards status" in out


def test_an_interrupted_scale_says_that_it_goes_on(earmark: Run, gateway: StubGateway) -> None:
    gateway.index = [index(left=85)]
    gateway.on_look = partial(os.kill, os.getpid(), signal.SIGINT)
    code, _, err = earmark("scale", "3")
    assert code == 130
    assert "goes on by itself" in err
    assert "earmark shards scale 3" in err
    assert "earmark shards cancel" in err


def test_move_and_cancel(earmark: Run, gateway: StubGateway) -> None:
    assert earmark("move", "0-2,9", "--to", "1")[0] == 0
    code, out, _ = earmark("cancel")
    assert gateway.posted == [("move", {"slots": [0, 1, 2, 9], "to": 1}), ("cancel", {})]
    assert (code, "3 slots were being copied" in out) == (0, True)


def test_slots_are_written_as_ranges() -> None:
    assert ranges([0, 1, 2, 9, 11, 12]) == "0-2,9,11-12"
    assert command.parse_slots(" 0-2, 9,11-12") == [0, 1, 2, 9, 11, 12]
    for wrong in ("", "256", "0-256", "5-", "-5", "a", "3-1"):
        with pytest.raises(typer.Exit):
            command.parse_slots(wrong)


def test_a_range_that_goes_down_is_told(earmark: Run, gateway: StubGateway) -> None:
    code, _, err = earmark("move", "5-3", "--to", "1")
    assert (code, gateway.posted) == (1, [])
    assert "a range goes from the lower to the higher slot" in err


# ── the rebuild drill ────────────────────────────────────────────────────────────────────────────


def drill(gateway: StubGateway, before: Any, after: Any, words: Any = ((), ()), *, cut: bool = False) -> None:
    """One replica that is built anew between answers by meaning and by words."""
    gateway.answers = [before, list(words[0]), after, list(words[1])]
    gateway.next_cursor = "more" if cut else None
    # When the drill begins, while it waits, and when it is done.
    gateway.index = [index(), index(replicas=[replica(rebuilding=True)]), index(replicas=[replica(rebuilds=1)])]


@pytest.fixture
def queries(tmp_path: Path) -> str:
    path = tmp_path / "queries.txt"
    path.write_text("why does bread rise\n\n")
    return str(path)


def test_a_rebuild_that_answers_as_before_is_well(earmark: Run, gateway: StubGateway, queries: str) -> None:
    drill(gateway, [hit("a", 0.5), hit("b", 0.4)], [hit("a", 0.50001), hit("b", 0.4)])
    gateway.digests = [digests("d0", "d1")]
    code, out, err = earmark("rebuild", "--all", "--queries", queries)
    assert (code, err) == (0, "")
    assert gateway.posted == [("rebuild", {"shard": 0, "replica": 0})]
    assert [search["q"] for search in gateway.searches] == [["why does bread rise"]] * 4
    assert [search["mode"] for search in gateway.searches] == [["semantic"], ["keyword"]] * 2
    assert "1 questions have the same 2 hits by meaning, scores within 1e-05, and the 0 clear ones by words" in out
    assert "2 slots hold the same" in out


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([hit("a", 0.5)], [hit("c", 0.5)], "no longer found ['a'], newly found ['c']"),
        ([hit("a", 0.5)], [hit("a", 0.6)], "the score of a differs by 0.1"),
        ([hit("a", 0.5), hit("b", 0.4)], [hit("a", 0.5)], "no longer found ['b'], newly found []"),
        ([hit("a", 0.5), hit("b", 0.4)], [hit("c", 0.5), hit("b", 0.4)], "no longer found ['a'], newly found ['c']"),
        ([hit("a", 0.5, hit("a2", 0.4))], [hit("a", 0.5)], "no longer found ['a2']"),
        ([hit("a", 0.5), hit("b", 0.4)], [hit("b", 0.4), hit("a", 0.5)], "b stands where a stood"),
    ],
)
def test_an_answer_that_differs_is_told_and_fails(
    earmark: Run, gateway: StubGateway, queries: str, before: Any, after: Any, told: str
) -> None:
    drill(gateway, before, after)
    gateway.digests = [digests("d0")]
    code, _, err = earmark("rebuild", "--all", "--queries", queries)
    assert code == 1
    assert told in err


@pytest.mark.parametrize("cut", [False, True])
def test_by_words_scores_and_order_may_shift(earmark: Run, gateway: StubGateway, queries: str, cut: bool) -> None:
    words = [hit("a", bm25=3.0), hit("b", bm25=2.9)], [hit("b", bm25=3.2), hit("a", bm25=3.1)]
    drill(gateway, [hit("a", 0.5)], [hit("a", 0.5)], words, cut=cut)
    gateway.digests = [digests("d0")]
    code, out, _ = earmark("rebuild", "--all", "--queries", queries)
    assert code == 0
    assert "scores shifted by 0.3 at most, and 1 answers have another order or end" in out


def test_by_words_the_last_hits_may_be_others(earmark: Run, gateway: StubGateway, queries: str) -> None:
    before = [hit("a", None, hit("a2", bm25=2.1), bm25=3.0), hit("b", bm25=2.15), hit("c", bm25=2.0)]
    after = [hit("a", None, hit("a3", bm25=2.2), bm25=2.9), hit("d", bm25=2.1), hit("e", bm25=2.05)]
    drill(gateway, [hit("a", 0.5)], [hit("a", 0.5)], (before, after), cut=True)
    gateway.digests = [digests("d0")]
    code, out, err = earmark("rebuild", "--all", "--queries", queries)
    assert (code, err) == (0, "")
    assert "the 1 clear ones by words" in out


@pytest.mark.parametrize(
    ("before", "after", "cut", "lost"),
    [
        ([hit("a", bm25=3.0), hit("b", bm25=2.0)], [hit("b", bm25=2.0)], True, "['a']"),
        ([hit("a", bm25=3.0), hit("b", bm25=2.0)], [hit("a", bm25=3.0)], False, "['b']"),
        ([hit("a", None, hit("a2", bm25=1.0), bm25=3.0)], [hit("a2", bm25=1.0)], False, "['a']"),
    ],
)
def test_by_words_what_clearly_belongs_there_is_missed(
    earmark: Run, gateway: StubGateway, queries: str, before: Any, after: Any, cut: bool, lost: str
) -> None:
    drill(gateway, [hit("a", 0.5)], [hit("a", 0.5)], (before, after), cut=cut)
    gateway.digests = [digests("d0")]
    code, _, err = earmark("rebuild", "--all", "--queries", queries)
    assert code == 1
    assert f"by words, no longer found {lost}" in err


@pytest.mark.parametrize(
    "after",
    [
        [hit("b", 0.5), hit("a", 0.5004), hit("c", 0.3)],
        [hit("a", 0.5), hit("b", 0.4996), hit("d", 0.3005)],
    ],
)
def test_by_meaning_those_that_score_alike_may_swap(
    earmark: Run, gateway: StubGateway, queries: str, after: Any
) -> None:
    drill(gateway, [hit("a", 0.5), hit("b", 0.4996), hit("c", 0.3)], after, cut=True)
    gateway.digests = [digests("d0")]
    assert earmark("rebuild", "--shard", "0", "--replica", "0", "--queries", queries)[0] == 0


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (digests("d0", "other"), "slot 1 of s0r0: 3 chunks before, 3 now, or other ones"),
        (digests(problem="too slow"), "s0r0 does not say what it holds: too slow"),
    ],
)
def test_a_slot_that_differs_is_told_and_fails(
    earmark: Run, gateway: StubGateway, queries: str, after: Any, told: str
) -> None:
    drill(gateway, [hit("a", 0.5)], [hit("a", 0.5)])
    gateway.digests = [digests("d0", "d1"), after]
    code, _, err = earmark("rebuild", "--all", "--queries", queries)
    assert code == 1
    assert told in err


def test_events_that_came_meanwhile_are_told(earmark: Run, gateway: StubGateway, queries: str) -> None:
    drill(gateway, [hit("a", 0.5)], [hit("a", 0.5)])
    gateway.digests = [digests("d0"), digests("d0", sequence=12)]
    code, out, err = earmark("rebuild", "--all", "--queries", queries, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["same"], report["events_between"], report["slots"]) == (True, 3, 1)


def test_a_replica_that_does_not_answer_is_not_rebuilt(earmark: Run, gateway: StubGateway, queries: str) -> None:
    gateway.digests = [digests("d0")]
    gateway.index = [index(replicas=[replica(answers=False, problem="gone")])]
    code, _, err = earmark("rebuild", "--all", "--queries", queries)
    assert (code, gateway.posted) == (1, [])
    assert "s0r0 does not answer (gone)" in err


def test_without_questions_the_titles_are_asked(earmark: Run, gateway: StubGateway) -> None:
    gateway.add("ready")
    drill(gateway, [hit("a", 0.5)], [hit("a", 0.5)])
    gateway.digests = [digests("d0")]
    assert earmark("rebuild", "--all")[0] == 0
    assert gateway.searches[0]["q"] == [gateway.videos["vid_1"]["title"]]


def test_questions_come_from_json_too(tmp_path: Path) -> None:
    from earmark.cli.rebuild_drill import read_queries

    path = tmp_path / "q.json"
    path.write_text('[{"question": "a", "video": "v"}, {"query": "b"}, "c"]')
    assert read_queries(path) == ["a", "b", "c"]
    path.write_text("{}]")
    with pytest.raises(typer.Exit):
        read_queries(path)
