"""The Kubernetes API, as far as the gateway needs it: list, watch, and leases with optimistic versions.

Over the official client's asynchronous part (`kubernetes.aio`), which loads its models of everything in Kubernetes when
it is imported (50 MiB, 2 s): a gateway that runs elsewhere never imports it. Objects are taken as JSON, since an API
server may be newer than the client's models.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from services.common.errors import EarmarkError, FailedPrecondition

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, CustomObjectsApi

Json = dict[str, Any]

ANSWER_SECONDS = 10.0
"""Time an API server has to begin its answer."""
_GRACE_SECONDS = 10.0
_OK = 300


class Kind(NamedTuple):
    """A kind of object, as paths name it."""

    group: str
    version: str
    plural: str


ENDPOINT_SLICES = Kind("discovery.k8s.io", "v1", "endpointslices")
LEASES = Kind("coordination.k8s.io", "v1", "leases")


class KubeError(EarmarkError):
    """The Kubernetes API did not do what it was asked.

    Attributes:
        status: The HTTP status it answered with; 0 when it did not answer.
    """

    reason = "KUBERNETES_API"
    code = "UNAVAILABLE"
    transient = True

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def gone(self) -> bool:
        """Whether the version asked for is not kept any more, or not there yet: only another list helps.

        504 is what a server says whose cache has not come as far, 400 one that makes nothing of the version.
        """
        return self.status in {400, 410, 504}


class KubeApi:
    """One namespace of a cluster. What does not answer in `answer_seconds` counts as away.

    Args:
        client: The official client.
        namespace: The namespace.
        answer_seconds: Time an API server has to begin its answer.
    """

    def __init__(self, client: ApiClient, *, namespace: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        from kubernetes.aio.client import CustomObjectsApi

        self._client = client
        # Its paths are those of every API group, and its objects JSON as it came.
        self._objects: CustomObjectsApi = CustomObjectsApi(client)
        self._namespace = namespace
        self._answer = answer_seconds

    @classmethod
    def connect(cls, *, url: str, namespace: str, answer_seconds: float = ANSWER_SECONDS) -> Self:
        """Makes one for the API server at `url`, or for that of the cluster this pod is in when that is empty.

        Raises:
            FailedPrecondition: This is no pod that may talk to its API server.
        """
        from kubernetes.aio import config
        from kubernetes.aio.client import ApiClient, Configuration

        configuration = Configuration(host=url or None)
        if not url:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException as error:
                raise FailedPrecondition(
                    f"EARMARK_KUBERNETES_NAMESPACE is set, but this is no pod with a service account: {error} Set "
                    "automountServiceAccountToken and serviceAccountName, or leave the namespace out",
                    reason="NO_SERVICE_ACCOUNT",
                ) from error
        return cls(ApiClient(configuration), namespace=namespace, answer_seconds=answer_seconds)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def get(self, kind: Kind, name: str) -> Json | None:
        """Gives an object; None when there is none of this name. Raises KubeError."""
        call = self._objects.get_namespaced_custom_object_without_preload_content
        try:
            return await self._json(call, *kind[:2], self._namespace, kind.plural, name)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, kind: Kind, body: Json) -> Json:
        """Makes an object. Raises KubeError, with status 409 when there is one of its name."""
        call = self._objects.create_namespaced_custom_object_without_preload_content
        return await self._json(call, *kind[:2], self._namespace, kind.plural, body)

    async def replace(self, kind: Kind, body: Json) -> Json:
        """Replaces an object. Raises KubeError, with status 409 when it is not the version in `body` any more."""
        call = self._objects.replace_namespaced_custom_object_without_preload_content
        return await self._json(call, *kind[:2], self._namespace, kind.plural, body["metadata"]["name"], body)

    async def list(self, kind: Kind, *, labels: str, not_older_than: str = "") -> Json:
        """Lists objects.

        Args:
            kind: What to list.
            labels: Selects them.
            not_older_than: Version the answer must have reached; empty asks for the newest there is.

        Raises:
            KubeError: It failed; `gone` when the server is not at that version.
        """
        version = {"resource_version": not_older_than, "resource_version_match": "NotOlderThan"}
        call = self._objects.list_namespaced_custom_object_without_preload_content
        return await self._json(
            call,
            *kind[:2],
            self._namespace,
            kind.plural,
            label_selector=labels,
            **(version if not_older_than else {}),
        )

    async def watch(self, kind: Kind, *, labels: str, since: str, seconds: int) -> AsyncIterator[Json]:
        """Gives the events after version `since`, for `seconds` at most.

        Raises:
            KubeError: It failed or broke off; `gone` when the server does not keep that version any more.
        """
        call = self._objects.list_namespaced_custom_object_without_preload_content
        response = await self._ask(
            call,
            *kind[:2],
            self._namespace,
            kind.plural,
            label_selector=labels,
            resource_version=since,
            watch=True,
            allow_watch_bookmarks=True,
            timeout_seconds=seconds,
            # A server whose machine has gone says nothing at all: then it is this that ends the wait.
            _request_timeout=seconds + _GRACE_SECONDS,
        )
        try:
            # Not by lines of the library, which bounds them: an event may hold a thousand endpoints.
            rest = b""
            async for part in _parts(response):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield _event(line)
            if rest.strip():
                raise KubeError("the Kubernetes API broke off in the middle of an event")
        finally:
            response.close()

    async def _json(self, call: Any, *args: Any, **kwargs: Any) -> Json:
        response = await self._ask(call, *args, _request_timeout=self._answer, **kwargs)
        try:
            body = b"".join([part async for part in _parts(response)])
        finally:
            response.release()
        return _object(body)

    async def _ask(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Sends a request and gives the response, which is a success."""
        import aiohttp
        from kubernetes.aio.config import ConfigException

        try:
            async with asyncio.timeout(self._answer):
                response = await call(*args, **kwargs)
                if response.status < _OK:
                    return response
                try:
                    body = await response.read()
                finally:
                    response.release()
        except (aiohttp.ClientError, OSError, TimeoutError, ConfigException) as error:  # the last: its token is away
            raise KubeError(f"the Kubernetes API does not answer: {error!r}") from error
        raise _refused(response.status, body)


async def _parts(response: Any) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for part in response.content.iter_any():
            yield part
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise KubeError(f"the Kubernetes API broke off: {error!r}") from error


def _event(line: bytes) -> Json:
    """Reads an event; one that tells of an error is raised."""
    event = _object(line)
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        raise KubeError(f"the watch ended: {status.get('message', 'no reason given')}", status=status.get("code", 0))
    return event


def _object(body: bytes) -> Json:
    try:
        read = json.loads(body)
    except ValueError as error:
        raise KubeError("the Kubernetes API answered with something that is no JSON") from error
    if not isinstance(read, dict):
        raise KubeError("the Kubernetes API answered with something that is no object")
    return read


def _refused(status: int, body: bytes) -> KubeError:
    """Says what the API said, which is a Status object unless a proxy in between has answered."""
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode(errors="replace")
    return KubeError(f"the Kubernetes API answered {status}: {message}", status=status)
