"""Removing what nobody needs any more, where failing to do so must not hide what is said to the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()


@contextmanager
def tidying(what: str) -> Iterator[None]:
    """Logs whatever goes wrong inside and goes on; `what` names the thing that stays behind."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (the store may raise anything, and what stays behind is waste, no loss)
        log.warning("left_behind", what=what, error=repr(error))
