"""The errors of the mesh and, in one table, what they look like from outside."""

from __future__ import annotations

from typing import ClassVar

HTTP_STATUS: dict[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 416,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP status of each gRPC status used, after google.rpc.Code's own mapping."""

HTTP_STATUS_OF_REASON: dict[str, int] = {
    "MEDIA_TOO_LARGE": 413,
    "IMPORT_TOO_LARGE": 413,
    "BODY_TOO_LARGE": 413,
    "HEAD_TOO_LARGE": 431,
    "RESULT_DELETED": 410,
    "MODEL_MISMATCH": 409,
    "TRANSCRIPT_CHANGED": 412,
    "TRANSCRIPT_IN_THE_MAKING": 409,
    "CHECKSUM_MISMATCH": 422,
    "PART_CHECKSUM_MISMATCH": 460,
    "KEY_REUSED": 422,
    "OFFSET_CONFLICT": 409,
    "UPLOAD_LOCKED": 423,
    "UPLOAD_OVER": 410,
    "TUS_VERSION": 412,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "NOT_RESTORABLE": 409,
    "NO_BUCKET": 409,
    "PARTS_MISSING": 409,
}
"""HTTP status of reasons that HTTP has a better one for."""


class EarmarkError(Exception):
    """Something went wrong that the caller can be told about.

    Attributes:
        reason: Machine-readable reason, UPPER_SNAKE.
        code: Name of the gRPC status.
        transient: Whether the same call may succeed later without a change.
        message: What happened and what to do, for people.
        field: The request field that is wrong, where it is one.
        metadata: Facts for machines; never internal text.
        retry_after_seconds: When to try again, where that is known.
    """

    reason: ClassVar[str] = "INTERNAL"
    code: ClassVar[str] = "INTERNAL"
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        metadata: dict[str, str] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason  # type: ignore[misc]  # an instance may be more exact than its class
        self.field = field
        self.metadata = metadata or {}
        self.retry_after_seconds = retry_after_seconds

    @property
    def http_status(self) -> int:
        """HTTP status that stands for `reason` where that is more exact, else for `code`."""
        return HTTP_STATUS_OF_REASON.get(self.reason) or HTTP_STATUS.get(self.code, 500)


class InvalidArgument(EarmarkError):
    """A field of the request is wrong."""

    reason = "INVALID_ARGUMENT"
    code = "INVALID_ARGUMENT"


class MediaUnreadable(EarmarkError):
    """The media cannot be decoded."""

    reason = "MEDIA_UNREADABLE"
    code = "INVALID_ARGUMENT"


class MediaTooLarge(EarmarkError):
    """The media is over the size limit."""

    reason = "MEDIA_TOO_LARGE"
    code = "INVALID_ARGUMENT"


class ChecksumMismatch(InvalidArgument):
    """What came is not what the checksum sent along was made of."""

    reason = "CHECKSUM_MISMATCH"


class KeyReused(InvalidArgument):
    """An Idempotency-Key came with another request than before."""

    reason = "KEY_REUSED"


class UnsupportedMediaType(InvalidArgument):
    """The body is of a type that is not taken here."""

    reason = "UNSUPPORTED_MEDIA_TYPE"


class FailedPrecondition(EarmarkError):
    """The state of the thing does not allow this."""

    reason = "FAILED_PRECONDITION"
    code = "FAILED_PRECONDITION"


class ResultDeleted(FailedPrecondition):
    """What an Idempotency-Key made is gone."""

    reason = "RESULT_DELETED"


class AddressRefused(FailedPrecondition):
    """A URL points at an address the mesh may not fetch from."""

    reason = "ADDRESS_REFUSED"


class ModelMismatch(FailedPrecondition):
    """Vectors of two models would meet."""

    reason = "MODEL_MISMATCH"


class TranscriptChanged(FailedPrecondition):
    """The transcript is not at the revision the caller says: mostly somebody else has edited it since."""

    reason = "TRANSCRIPT_CHANGED"


class TranscriptInTheMaking(FailedPrecondition):
    """The transcript cannot be edited yet."""

    reason = "TRANSCRIPT_IN_THE_MAKING"


class NotFound(EarmarkError):
    """There is no such thing."""

    reason = "NOT_FOUND"
    code = "NOT_FOUND"


class VideoNotFound(NotFound):
    """There is no video with this id."""

    reason = "VIDEO_NOT_FOUND"

    def __init__(self, video_id: str) -> None:
        super().__init__(
            f"there is no video {video_id!r}; list the videos there are", metadata={"video_id": video_id[:64]}
        )


class ObjectNotFound(NotFound):
    """There is no object with this key in the object store."""

    reason = "OBJECT_NOT_FOUND"


class PermissionDenied(EarmarkError):
    """The caller may not do this."""

    reason = "PERMISSION_DENIED"
    code = "PERMISSION_DENIED"


class Unauthenticated(EarmarkError):
    """Nobody knows who calls: there is no key, or not one that holds."""

    reason = "KEY_REQUIRED"
    code = "UNAUTHENTICATED"


class RateLimited(EarmarkError):
    """A key is used more often than it may be."""

    reason = "RATE_LIMITED"
    code = "RESOURCE_EXHAUSTED"
    transient = True


class QuotaExceeded(EarmarkError):
    """A key has used up what it has for a day."""

    reason = "QUOTA_EXCEEDED"
    code = "RESOURCE_EXHAUSTED"


class Overloaded(EarmarkError):
    """A bounded queue is full."""

    reason = "OVERLOADED"
    code = "RESOURCE_EXHAUSTED"
    transient = True


class Unavailable(EarmarkError):
    """Something needed does not answer just now."""

    reason = "UNAVAILABLE"
    code = "UNAVAILABLE"
    transient = True


class DeadlineExceeded(EarmarkError):
    """There was not enough time."""

    reason = "DEADLINE_EXCEEDED"
    code = "DEADLINE_EXCEEDED"
    transient = True


class Aborted(EarmarkError):
    """Work was given up because its caller went away or the service stops."""

    reason = "ABORTED"
    code = "ABORTED"
    transient = True


class RemoteError(EarmarkError):
    """A peer answered with an error; carries the peer's own code and reason."""

    def __init__(self, message: str, *, code: str, reason: str, metadata: dict[str, str] | None = None) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.code = code  # type: ignore[misc]  # the peer's, not the class's
        self.transient = code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}  # type: ignore[misc]
