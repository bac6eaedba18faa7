"""Uploads that a command has begun and not ended, so that the next one goes on with them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Begun:
    """By what the upload of a file to a gateway can be resumed; kept in a file until it has become a video.

    Args:
        gateway: URL of the gateway.
        path: The file. One that has another size or was changed since is another upload.
        said: Whatever else makes it another one: title, tags and such.
    """

    def __init__(self, gateway: str, path: Path, *said: object) -> None:
        look = path.stat()
        key = repr((gateway, str(path.resolve()), look.st_size, look.st_mtime_ns, said))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._kept = cache / "earmark" / "uploads" / hashlib.sha256(key.encode()).hexdigest()

    @property
    def location(self) -> str | None:
        """What the gateway called it; None where none was begun."""
        try:
            return self._kept.read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def keep(self, location: str) -> None:
        """Remembers it. Where that cannot be, the next command begins anew."""
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._kept.write_text(location, encoding="utf-8")
        except OSError:
            return

    def forget(self) -> None:
        """It has become a video, or never will."""
        self._kept.unlink(missing_ok=True)
