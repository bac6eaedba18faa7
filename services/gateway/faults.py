"""What the libraries beneath raise, as errors of the mesh."""

from __future__ import annotations

from nats.errors import Error as NatsError
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError
from starlette.requests import ClientDisconnect

from services.common.errors import Aborted, EarmarkError, Unavailable


def known(error: BaseException) -> EarmarkError | None:
    """Gives the error a caller can be told about; None when it is one nobody foresaw."""
    if isinstance(error, EarmarkError):
        return error
    if isinstance(error, (ConnectionFailure, ExecutionTimeout)):
        return Unavailable("the database does not answer; try again shortly", reason="DATABASE_UNAVAILABLE")
    if isinstance(error, PyMongoError) and error.has_error_label("RetryableWriteError"):
        return Unavailable("the database is changing over; try again shortly", reason="DATABASE_UNAVAILABLE")
    if isinstance(error, NatsError):
        return Unavailable("the event stream does not answer; try again shortly", reason="EVENTS_UNAVAILABLE")
    if isinstance(error, ClientDisconnect):
        return Aborted("the client went away")
    return None
