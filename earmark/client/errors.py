"""What can go wrong when talking to the gateway.

EarmarkClientError
├── ConnectionFailed      nothing answers at that URL
├── ProtocolError         something answers, but it is not Earmark
└── ApiError              the gateway refused, and says why
    ├── InvalidRequest    400, 413, 415, 422: mend the request
    ├── PermissionDenied  401, 403
    ├── NotFound          404, 410
    ├── Conflict          409, 412: the video is not in a state that allows it
    ├── Overloaded        423, 429: wait `retry_after` seconds
    ├── Unavailable       502, 503: try again with back-off
    ├── Timeout           504, or no answer in time
    └── Internal          500: report the error id in the message
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that is wrong, and how."""

    field: str
    description: str


class EarmarkClientError(Exception):
    """Base of all errors of the client.

    Attributes:
        message: one or two sentences for a person.
        reason: machine-readable, UPPER_SNAKE, e.g. `VIDEO_NOT_FOUND`.
        status: name of the status class, e.g. `NOT_FOUND`.
    """

    reason = "UNKNOWN"
    status = "UNKNOWN"

    def __init__(self, message: str, *, reason: str | None = None, status: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason:
            self.reason = reason
        if status:
            self.status = status


class ConnectionFailed(EarmarkClientError):
    """No gateway answers at the URL."""

    reason = "CONNECTION_FAILED"
    status = "UNAVAILABLE"


class ProtocolError(EarmarkClientError):
    """The answer is not one an Earmark gateway gives."""

    reason = "NOT_AN_EARMARK_GATEWAY"
    status = "INTERNAL"


class ApiError(EarmarkClientError):
    """The gateway refused a request.

    Attributes:
        http_status: the HTTP status code.
        metadata: facts that belong to the reason, e.g. `{"video_id": "vid_…"}`.
        violations: fields of the request that are wrong.
        retry_after: seconds to wait before trying again, when the gateway says so.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int,
        reason: str | None = None,
        status: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, status=status)
        self.http_status = http_status
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = violations
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """A field or the file is wrong."""

    status = "INVALID_ARGUMENT"


class PermissionDenied(ApiError):
    """The gateway does not allow it: there is no key, or it may not."""

    status = "PERMISSION_DENIED"


class NotFound(ApiError):
    """No such video."""

    status = "NOT_FOUND"


class Conflict(ApiError):
    """The video is in a state that does not allow it."""

    status = "FAILED_PRECONDITION"


class Overloaded(ApiError):
    """Too much at once; wait and try again."""

    status = "RESOURCE_EXHAUSTED"


class Unavailable(ApiError):
    """A part of the mesh does not answer just now."""

    status = "UNAVAILABLE"


class Timeout(ApiError):
    """No answer in time."""

    status = "DEADLINE_EXCEEDED"


class Internal(ApiError):
    """A defect of the mesh; the message carries the error id that stands in its log."""

    status = "INTERNAL"


_BY_HTTP_STATUS: dict[int, type[ApiError]] = {
    401: PermissionDenied,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    423: Overloaded,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: Timeout,
}


def from_response(response: httpx.Response) -> EarmarkClientError:
    """The error a refused request means. The body must have been read."""
    code = response.status_code
    kind = _BY_HTTP_STATUS.get(code) or (InvalidRequest if 400 <= code < 500 else Internal)
    try:
        body: dict[str, Any] = response.json()["error"]
        message = str(body["message"])
    except (ValueError, KeyError, TypeError):
        if code in _BY_HTTP_STATUS and (code >= 500 or response.request.method == "HEAD"):  # which has no body
            return kind(f"The gateway answered {code} {response.reason_phrase}.", http_status=code)
        return ProtocolError(
            f"{response.request.url} answered {code} {response.reason_phrase}, in a form that no Earmark gateway uses."
        )
    reason: str | None = None
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    for detail in body.get("details") or ():
        if "reason" in detail:
            reason = str(detail["reason"])
            metadata.update(detail.get("metadata") or {})
        elif "field" in detail:
            violations.append(FieldViolation(str(detail["field"]), str(detail.get("description", ""))))
    return kind(
        message,
        http_status=code,
        reason=reason,
        status=str(body["status"]) if body.get("status") else None,
        metadata=metadata,
        violations=tuple(violations),
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def from_transport(error: httpx.TransportError, base_url: str) -> EarmarkClientError:
    """The error a broken or missing connection means."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ConnectionFailed(f"No Earmark gateway answers at {base_url}.")
    if isinstance(error, httpx.TimeoutException):
        return Timeout(
            f"The gateway at {base_url} did not answer in time.", http_status=504, reason="NO_ANSWER_IN_TIME"
        )
    return ConnectionFailed(
        f"The connection to {base_url} broke off: {str(error) or type(error).__name__}.", reason="CONNECTION_LOST"
    )


def _seconds(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None
