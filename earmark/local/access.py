"""The secrets of an embedded mesh that takes keys (EARMARK_ACCESS=keys): made once, kept in its data folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from earmark.local.paths import DataDir

ACCESS, ADMIN_KEY, URL_SECRET = "EARMARK_ACCESS", "EARMARK_ADMIN_KEY", "EARMARK_URL_SECRET"


def gateway_secrets(data: DataDir) -> dict[str, str]:
    """What the gateway is told besides its environment; nothing where it takes no keys.

    A secret that the environment has is left as it is. One that was made here lies in the data folder, for the command.
    """
    if os.environ.get(ACCESS) != "keys":
        return {}
    kept = {ADMIN_KEY: data.admin_key, URL_SECRET: data.url_secret}
    made: dict[str, str] = {}
    for name, path in kept.items():
        if os.environ.get(name):
            path.unlink(missing_ok=True)  # it would be taken for the one that holds
        else:
            made[name] = _made(path)
    return made


def admin_headers(told: Mapping[str, str]) -> dict[str, str]:
    """The header with which the mesh asks its own gateway; `told` are the `gateway_secrets`."""
    key = told.get(ADMIN_KEY) or os.environ.get(ADMIN_KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _made(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        secret = secrets.token_hex(32)
        # For its owner alone from the first byte on.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret + "\n")
        return secret
