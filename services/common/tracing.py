"""Traces: one from the HTTP request or upload through every service and event it causes (W3C trace context)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_tracer = trace.get_tracer("earmark")
_recording = False


def configure(service: str, endpoint: str | None) -> None:
    """Sends traces to `endpoint` (OTLP over gRPC); without one nothing is recorded and a span costs nothing."""
    global _recording  # noqa: PLW0603  # like the tracer provider, one a process
    if endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # costs 100 ms

    provider = TracerProvider(resource=Resource.create({"service.name": f"earmark-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    _recording = True


def outgoing_headers() -> dict[str, str]:
    """Gives the headers that carry the present trace on; none when nothing is recorded."""
    headers: dict[str, str] = {}
    if _recording:
        propagate.inject(headers)
    return headers


@contextlib.contextmanager
def span(name: str, incoming: Mapping[str, str] | None = None, **attributes: str | int) -> Iterator[None]:
    """Records a span, child of the trace in `incoming` headers where there is one."""
    if not _recording:
        yield
        return
    parent = propagate.extract(dict(incoming)) if incoming else context.get_current()
    with _tracer.start_as_current_span(name, context=parent, attributes=attributes):
        yield
