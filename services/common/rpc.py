"""gRPC in and out: servers, channels, deadlines, and errors as google.rpc.Status."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, cast

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import Gauge, Histogram
from ulid import ULID

from services.common import tls, tracing
from services.common.errors import DeadlineExceeded, EarmarkError, RemoteError
from services.common.metrics import LATENCY_SECONDS
from services.common.settings import CommonSettings

log = structlog.get_logger()

DOMAIN = "earmark"
MESSAGE_BYTES = 16 * 2**20
_ERROR_CHARS = 500
"""An error travels in headers, twice, and more than 8 KiB of them make it RESOURCE_EXHAUSTED."""
_STATUS_KEY = "grpc-status-details-bin"

SECONDS = Histogram(
    "earmark_grpc_server_handling_seconds", "Time to answer a call.", ["method", "code"], buckets=LATENCY_SECONDS
)
IN_FLIGHT = Gauge("earmark_grpc_server_in_flight", "Calls being answered; what a service is scaled by.")

_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
]


_certificates: tls.Certificates | None = None


def secure(certificates: tls.Certificates | None) -> None:
    """Says with what `connect` opens channels from now on; None is without TLS. Called once, when a service starts."""
    global _certificates  # noqa: PLW0603  # like logs and traces, one for the process
    _certificates = certificates


def make_server(
    settings: CommonSettings,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),  # type: ignore[type-arg]  # generic in the stubs only
) -> grpc.aio.Server:
    """Makes a server that maps EarmarkErrors, bounds its calls and measures them. It has no port yet.

    What `interceptors` raise is mapped and measured too. Of one method each gives the same handler every time.
    """
    return grpc.aio.server(
        interceptors=[_Boundary(), *interceptors],
        maximum_concurrent_rpcs=settings.grpc_max_concurrent_rpcs,
        options=[
            *_KEEPALIVE,
            ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a way to share it
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )


def connect(target: str) -> grpc.aio.Channel:
    """Opens a channel that connects again quickly, and notices a peer that has vanished.

    A channel has one connection to each address of its target. What is to be spread over the processes of a service
    has a channel to each of them instead (`services.gateway.addresses`): then load and failures are told apart.

    Args:
        target: `host:port`; or `dns:///name:port`, over all addresses of which calls take turns.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    options = [
        *_KEEPALIVE,
        ("grpc.service_config", json.dumps(config)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if _certificates is not None:
        return tls.channel(target, options, _certificates)
    return grpc.aio.insecure_channel(target, options=options)  # noqa: TID251  # the one place


def budget(context: grpc.aio.ServicerContext[Any, Any], *, own: float, reserve: float = 0.02) -> float:
    """Gives the seconds a server may give downstream: its own limit, or what its caller has left less a reserve.

    Raises:
        DeadlineExceeded: Nothing is left.
    """
    remaining = context.time_remaining()
    if remaining is None:
        return own
    if remaining <= reserve:
        raise DeadlineExceeded("no time is left for this call; give it a later deadline")
    return min(own, remaining - reserve)


def to_status(error: EarmarkError) -> status_pb2.Status:
    """Gives the google.rpc.Status of an error: ErrorInfo, and BadRequest or RetryInfo where they apply."""
    message = error.message[:_ERROR_CHARS]
    metadata = {key: value[:_ERROR_CHARS] for key, value in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    details: list[Any] = [info]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=grpc.StatusCode[error.code].value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_rpc(error: grpc.aio.AioRpcError, *, peer: str) -> EarmarkError:
    """Gives the error a peer answered with; one that came without details is told in terms of `peer`."""
    code = error.code().name
    trailing: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in trailing:
        if key != _STATUS_KEY:
            continue
        status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Unpack(info):
                return RemoteError(status.message, code=code, reason=info.reason, metadata=dict(info.metadata))
    said = {"UNAVAILABLE": "does not answer", "DEADLINE_EXCEEDED": "did not answer in time"}.get(
        code, f"answered {code}"
    )
    return RemoteError(f"the {peer} {said}; try again shortly", code=code, reason=code)


Method = Callable[[Any, Any], Any]


class _Boundary(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Measures every call and turns what it raises into a status; what is unknown becomes INTERNAL with an id."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        return _wrap(handler, handler_call_details.method)


# A server has few methods, and the handler of one is the same object for every call.
@functools.lru_cache(maxsize=256)
def _wrap(handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
    return rewrap(handler, lambda call: _single(call, method), lambda call: _stream(call, method))


def rewrap(
    handler: grpc.RpcMethodHandler[Any, Any], single: Callable[[Method], Method], stream: Callable[[Method], Method]
) -> grpc.RpcMethodHandler[Any, Any]:
    """Gives a handler with something around its call: `single` where it answers once, `stream` where it streams."""
    codecs = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(single(handler.unary_unary), **codecs)
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(single(handler.stream_unary), **codecs)
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(stream(handler.unary_stream), **codecs)
    return grpc.stream_stream_rpc_method_handler(stream(cast(Method, handler.stream_stream)), **codecs)


def _single(call: Method, method: str) -> Method:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        async with _Answering(method, context):
            return await call(request, context)

    return wrapped


def _stream(call: Method, method: str) -> Method:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async with _Answering(method, context):
            async for response in call(request, context):
                yield response

    return wrapped


class _Answering:
    """What lies around the work of one call."""

    __slots__ = ("_context", "_method", "_span", "_started")

    def __init__(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._method = method
        self._context = context
        self._span = tracing.span(method, _incoming(context))
        self._started = time.perf_counter()

    async def __aenter__(self) -> None:
        IN_FLIGHT.inc()
        self._span.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._span.__exit__(kind, error, trace)
        code = "OK"
        try:
            if isinstance(error, EarmarkError):
                code = error.code
                await _abort(self._context, error)
            elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                code = "INTERNAL"
                await _abort(self._context, _internal(self._method, error))  # logged with an id, answered with it
        finally:
            IN_FLIGHT.dec()
            SECONDS.labels(self._method, code).observe(time.perf_counter() - self._started)


def _incoming(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    metadata = context.invocation_metadata() or ()
    return {key: str(value) for key, value in metadata if key in {"traceparent", "tracestate"}}


def internal_error(error_id: str) -> EarmarkError:
    """Gives the error an outsider sees of an unexpected one: its id, which is in the log, and nothing else."""
    message = f"something went wrong inside; report error id {error_id}"
    return EarmarkError(message, metadata={"error_id": error_id})


def _internal(method: str, error: Exception) -> EarmarkError:
    error_id = str(ULID())
    log.error("call_failed", method=method, error_id=error_id, exc_info=error)
    return internal_error(error_id)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: EarmarkError) -> None:
    status = to_status(error)
    trailing = ((_STATUS_KEY, status.SerializeToString()),)
    await context.abort(grpc.StatusCode[error.code], status.message, trailing_metadata=trailing)
