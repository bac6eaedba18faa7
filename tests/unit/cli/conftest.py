"""A stub gateway, and the command run as a process would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from earmark import cli
from earmark.cli import common
from tests.unit.cli.stub_gateway import StubGateway, stub_gateway


@pytest.fixture
def gateway() -> Iterator[StubGateway]:
    with stub_gateway() as server:
        yield server


@pytest.fixture
def earmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command; gives its exit code and what it wrote to both outputs."""
    monkeypatch.setenv("EARMARK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("EARMARK_URL", raising=False)

    def run(*arguments: str, gateway: StubGateway | None = None, width: int = 200) -> tuple[int, str, str]:
        if gateway:
            monkeypatch.setenv("EARMARK_URL", gateway.url)
        monkeypatch.setattr("sys.argv", ["earmark", *arguments])
        for name, to_stderr in (("out", False), ("err", True)):
            monkeypatch.setattr(common, name, Console(stderr=to_stderr, highlight=False, width=width))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run
