"""Lets a call in, as `http/access.py` does a request: who makes it, and whether they may make it at all."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc

from services.common.rpc import Method, rewrap
from services.gateway.access.caller import Scope, enter
from services.gateway.access.gate import Gate

_PUBLIC = ("/grpc.health.v1.", "/grpc.reflection.")
_VIDEOS, _TRANSCRIPTS = "/earmark.v1.VideoService/", "/earmark.v1.TranscriptService/"

# What is not here takes an administrator, so that a call somebody adds and forgets is closed and not open.
NEEDED: Mapping[str, tuple[Scope, ...]] = {
    "/earmark.v1.SearchService/Search": (Scope.READ,),
    **{f"{_VIDEOS}{name}": (Scope.READ,) for name in ("GetVideo", "ListVideos", "WatchVideo")},
    **{f"{_VIDEOS}{name}": (Scope.UPLOAD,) for name in ("CreateVideo", "ImportVideo")},
    **{
        f"{_VIDEOS}{name}": (Scope.READ, Scope.UPLOAD)
        for name in ("UpdateVideo", "DeleteVideo", "RestoreVideo", "RetryVideo")
    },
    **{f"{_TRANSCRIPTS}{name}": (Scope.READ,) for name in ("GetTranscript", "GetCaptions")},
    **{f"{_TRANSCRIPTS}{name}": (Scope.READ, Scope.UPLOAD) for name in ("PutTranscript", "UpdateSegment")},
}


class RpcAccess(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Says who calls before a servicer sees the call.

    Args:
        gate: Finds out who calls.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        # The handler of a method is the same object for every call, and what wraps this one counts on it.
        self._wrapped = functools.lru_cache(maxsize=256)(self._wrap)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wraps the handler of a method that is not for everybody."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return handler
        if method.startswith(_PUBLIC):
            return handler
        return self._wrapped(handler, method)

    def _wrap(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
        rights = NEEDED.get(method, (Scope.ADMIN,))

        async def admit(context: grpc.aio.ServicerContext[Any, Any]) -> None:
            who = await self._gate.admit(_bearer(context))
            who.check(*rights)
            enter(who)

        def single(call: Method) -> Method:
            async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
                await admit(context)
                return await call(request, context)

            return wrapped

        def stream(call: Method) -> Method:
            async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                await admit(context)
                async for response in call(request, context):
                    yield response

            return wrapped

        return rewrap(handler, single, stream)


def _bearer(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    for name, value in context.invocation_metadata() or ():
        kind, _, key = str(value).partition(" ")
        if name == "authorization" and kind.lower() == "bearer":
            return key.strip()
    return ""
