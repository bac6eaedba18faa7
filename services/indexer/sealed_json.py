"""JSON files that say themselves whether they are what was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_SEAL = "sha256_of_the_rest"


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a file with a hash of its content in it; it is not synced."""
    path.write_text(json.dumps({**content, _SEAL: _hash(content)}, indent=1))


def check(content: Any) -> dict[str, Any]:
    """Gives what was written, of what was read. Raises ValueError when that is something else by now."""
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    rest = {name: value for name, value in content.items() if name != _SEAL}
    if content.get(_SEAL) != _hash(rest):
        raise ValueError("it is not what was written")
    return rest


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
