import json
import logging

import pytest
import structlog

from services.common import logs


def test_a_traceback_in_the_log_has_no_values_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("test", level="info", fmt="json")
        try:
            password = "hunter2-of-a-database"
            raise RuntimeError(len(password))
        except RuntimeError:
            structlog.get_logger().exception("it_broke")
        (line,) = capsys.readouterr().out.splitlines()
        record = json.loads(line)
        assert record["event"] == "it_broke"
        assert record["exception"][0]["frames"][0]["name"] == test_a_traceback_in_the_log_has_no_values_in_it.__name__
        assert "hunter2" not in line
    finally:
        logging.getLogger().handlers[:] = before
        structlog.reset_defaults()
