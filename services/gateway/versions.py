"""The version in the paths of the API: `/v1/search`, which is also `/search`, as it was called first."""

from __future__ import annotations

PREFIX = "/v1"


def plain(path: str) -> str:
    """Gives a path without its version: what rules and signatures go by, so that both names are one thing."""
    return path.removeprefix(PREFIX) if path.startswith(f"{PREFIX}/") else path


def versioned(path: str) -> str:
    """Gives the path to hand out for a plain one."""
    return PREFIX + path
