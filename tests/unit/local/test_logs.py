import asyncio
from datetime import UTC, datetime
from pathlib import Path

from earmark.local import logs
from earmark.local.logs import ChildLog, LogFile, Record, last_lines


def test_json_lines_are_taken_apart_and_others_kept() -> None:
    line = (
        '{"event": "slice_cut", "level": "info", "timestamp": "2025-01-02T03:04:05Z", "service": "x", "video_id": "v"}'
    )
    record = Record.read("transcriber", line)
    assert (record.event, record.level, record.fields) == ("slice_cut", "info", {"video_id": "v"})
    assert record.time == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    for odd in ("plain text", "{broken", "[1]", '{"no_event": 1}'):
        assert Record.read("x", odd).event == odd


def test_a_log_file_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    file = LogFile(path)
    line = "x" * 1_000_000
    for _ in range(45):
        file.write(line)
    file.close()
    sizes = {entry.name: entry.stat().st_size for entry in path.parent.iterdir()}
    assert set(sizes) == {"a.log", "a.log.1", "a.log.2"}
    assert max(sizes.values()) <= 10 * 1024 * 1024


async def test_lines_are_followed_whatever_the_pieces(tmp_path: Path) -> None:
    records: list[Record] = []
    log = ChildLog("a", tmp_path / "a.log", records.append)
    stream = asyncio.StreamReader()
    stream.feed_data("one\ntwo ü".encode()[:-1])
    following = asyncio.create_task(log.follow(stream))
    await asyncio.sleep(0)
    stream.feed_data("ü".encode()[1:] + b"\n" + b"y" * 200_000 + b"\nlast without an end")
    stream.feed_eof()
    await following
    log.close()
    events = [record.event for record in records]
    assert events[:2] == ["one", "two ü"]
    assert events[-1] == "last without an end"
    assert sum(event.count("y") for event in events) == 200_000


def test_last_lines_are_readable(tmp_path: Path) -> None:
    path = tmp_path / "embedder.log"
    frames = '[{"filename": "a.py", "lineno": 3, "name": "f"}]'
    trace = '[{"exc_type": "OSError", "exc_value": "no such model", "frames": ' + frames + "}]"
    path.write_text('plain\n{"event": "failed", "level": "error", "model": "m", "exception": ' + trace + "}\n")
    assert last_lines(path) == ["info    plain", "error   failed model=m", "a.py:3 in f", "OSError: no such model"]
    assert last_lines(tmp_path / "none.log") == []
    assert logs.traceback_lines("a\nb") == ["a", "b"]


def test_the_reason_of_an_end_is_the_last_error_else_the_last_line() -> None:
    wrong = "gateway: setting EARMARK_CORS_ORIGINS: '[' is no origin, such as https://app.example.org"
    assert logs.reason(["starting", wrong, ""]) == wrong
    told = [
        '{"event": "cannot listen", "level": "error", "error": "address in use"}',
        '{"event": "stopped", "level": "info"}',
    ]
    assert logs.reason(told) == "cannot listen address in use"
    broke = '{"event": "broke", "level": "critical", "exception": "Traceback …\\nOSError: disk full"}'
    assert logs.reason([broke]) == "broke OSError: disk full"
    assert logs.reason([]) == ""
