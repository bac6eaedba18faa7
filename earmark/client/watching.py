"""What to do when a watch breaks off: the rules the sync and the async client share."""

from __future__ import annotations

from earmark.client.errors import ConnectionFailed, EarmarkClientError, NotFound, Overloaded, Timeout, Unavailable
from earmark.client.results import DELETING, SETTLED, VideoStatus

_PASSING = (ConnectionFailed, Unavailable, Overloaded, Timeout)
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 3.0


class Watch:
    """State of one watch over its connections.

    Args:
        patience: seconds without any news from the gateway after which a broken watch gives up.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waited = 0.0
        self._delay = _FIRST_DELAY
        self._last: VideoStatus | None = None

    def news(self, status: VideoStatus) -> bool:
        """Takes a status; whether it differs from the one before (a reconnect repeats the last)."""
        self._waited, self._delay = 0.0, _FIRST_DELAY
        changed = self._last is None or self._last.raw != status.raw
        self._last = status
        return changed

    @property
    def over(self) -> bool:
        """Whether nothing more will come, even if the gateway did not get to say `end`."""
        return self._last is not None and self._last.status in SETTLED

    def delay(self, error: EarmarkClientError | None) -> float | None:
        """Seconds to wait before connecting again, or None when the watch is over.

        Raises:
            EarmarkClientError: `error`, when it will not pass or has lasted too long.
        """
        if isinstance(error, NotFound) and self._last is not None and self._last.status == DELETING:
            return None
        first = self._last is None and self._waited == 0.0
        if error is not None and (first or not isinstance(error, _PASSING) or self._waited >= self._patience):
            raise error
        delay = self._delay
        self._waited += delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return delay
