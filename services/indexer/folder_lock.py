"""One process a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import FailedPrecondition


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds `folder` against other processes; the system lets go of it when this one ends, however it ends.

    Raises:
        FailedPrecondition: Another process holds it, or nobody may write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        message = (
            f"the index cannot be kept in {folder} ({error}): let the indexer write there, or set EARMARK_INDEX_DIR"
        )
        raise FailedPrecondition(message, reason="INDEX_DIR_NOT_WRITABLE") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another indexer uses {folder}: give each its own EARMARK_INDEX_DIR"
            raise FailedPrecondition(message, reason="INDEX_DIR_IN_USE") from None
        yield
    finally:
        os.close(descriptor)
