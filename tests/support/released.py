"""The released protocol, beside the one of this tree: its messages, and a relay that lets nothing else through."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from services.common.rpc import connect

IMAGE = Path(__file__).resolve().parents[2] / "protos" / "released.binpb"
HEALTH = "/grpc.health.v1.Health/"


@functools.cache
def files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """The files of the release, each after those it imports."""
    # What buf writes is a FileDescriptorSet with fields of its own beside.
    return tuple(descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes()).file)


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in files():
        pool.Add(file)
    return pool


def message(full_name: str) -> type[Message]:
    """The class of a message, with the fields that the release has. Raises KeyError."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full_name))


def messages() -> Iterator[str]:
    """The full names of all messages of ours."""

    def within(kind: Descriptor) -> Iterator[str]:
        if not kind.GetOptions().map_entry:
            yield kind.full_name
        for inner in kind.nested_types:
            yield from within(inner)

    for file in files():
        if file.package.startswith("earmark."):
            for kind in _pool().FindFileByName(file.name).message_types_by_name.values():
                yield from within(kind)


def methods() -> dict[str, MethodDescriptor]:
    """The calls by their paths."""
    return {
        f"/{service.full_name}/{method.name}": method
        for file in files()
        if file.package.startswith("earmark.")
        for service in _pool().FindFileByName(file.name).services_by_name.values()
        for method in service.methods
    }


def only_released(kind: Descriptor) -> Callable[[bytes], bytes]:
    """What a program of the release would make of a message that it reads and writes anew: what it knows."""
    of = message_factory.GetMessageClass(kind)

    def through(data: bytes) -> bytes:
        known = of.FromString(data)
        known.DiscardUnknownFields()
        return known.SerializeToString()

    return through


class _Relay(grpc.GenericRpcHandler):
    """Hands calls on that the release has, with what it has of their messages; any other is UNIMPLEMENTED."""

    def __init__(self, channel: grpc.aio.Channel, called: list[str]) -> None:
        self._channel = channel
        self._called = called
        self._methods = methods()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path: str = handler_call_details.method
        if path.startswith(HEALTH):
            return self._handler(path, lambda data: data, lambda data: data, streams=path.endswith("/Watch"))
        method = self._methods.get(path)
        if method is None:
            return None
        self._called.append(path)
        assert not method.client_streaming, "no call inside the mesh sends a stream"
        request, response = only_released(method.input_type), only_released(method.output_type)
        return self._handler(path, request, response, streams=method.server_streaming)

    def _handler(
        self, path: str, request: Callable[[bytes], bytes], response: Callable[[bytes], bytes], *, streams: bool
    ) -> Any:
        def call(data: bytes, context: Any) -> Any:
            kind = self._channel.unary_stream if streams else self._channel.unary_unary
            metadata = [(key, value) for key, value in context.invocation_metadata() if not key.startswith("grpc-")]
            return kind(path)(request(data), timeout=context.time_remaining(), metadata=metadata)

        async def single(data: bytes, context: Any) -> bytes:
            try:
                return response(await call(data, context))
            except grpc.aio.AioRpcError as error:
                await _pass_on(context, error)
                raise

        async def stream(data: bytes, context: Any) -> AsyncIterator[bytes]:
            try:
                async for answer in call(data, context):
                    yield response(answer)
            except grpc.aio.AioRpcError as error:
                await _pass_on(context, error)

        return grpc.unary_stream_rpc_method_handler(stream) if streams else grpc.unary_unary_rpc_method_handler(single)


async def _pass_on(context: Any, error: grpc.aio.AioRpcError) -> None:
    await context.abort(error.code(), error.details() or "", trailing_metadata=tuple(error.trailing_metadata() or ()))


@asynccontextmanager
async def relay(target: str, port: int) -> AsyncIterator[list[str]]:
    """Listens on a port of loopback and hands on to `target`; yields the paths called, as they come."""
    called: list[str] = []
    channel = connect(target)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Relay(channel, called),))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    try:
        yield called
    finally:
        await server.stop(0)
        await channel.close()
