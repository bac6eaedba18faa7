"""The running API answers as its description says, whatever it is asked: schemathesis makes the requests up."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from services.common.settings import CommonSettings
from tests.support.gateway import gateway

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
# A stream of events does not end, and metrics are Prometheus'.
LEFT_OUT = "/events$|/metrics$"

HOOKS = Path(__file__).parent / "api_schema_hooks.py"


@pytest.mark.timeout(180)
async def test_answers_are_those_described(common_settings: CommonSettings, tmp_path: Path) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program, "schemathesis is in the dev extra"
    async with gateway(common_settings) as mesh:
        video = await mesh.upload()
        assert video
        command = [
            *(program, "run", f"{mesh.http.base_url}/openapi.json"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,fuzzing", "--max-examples", "3"),
            *("--exclude-path-regex", LEFT_OUT, "--seed", "17", "--request-timeout", "10", "--no-shrink"),
            *("--max-failures", "40", "--continue-on-failure", "--warnings", "off"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode(errors="replace")[-20_000:]
