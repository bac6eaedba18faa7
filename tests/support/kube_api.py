"""A server that speaks the Kubernetes API as far as Earmark uses it, with its awkward sides.

What kmock 0.8 lacks is what matters here: versions of objects and lists, conflicts, watches from a version, 410 and
bookmarks. Semantics after https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import asyncio
import copy
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
Key = tuple[str, str]
"""Path of a collection, and name."""

SLICES = "/apis/discovery.k8s.io/v1/namespaces/earmark/endpointslices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/earmark/leases"
STATEFUL_SETS = "/apis/apps/v1/namespaces/earmark/statefulsets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/earmark/deployments"
PODS = "/api/v1/namespaces/earmark/pods"
CONFIG_MAPS = "/api/v1/namespaces/earmark/configmaps"


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]

    @property
    def watch(self) -> bool:
        """Whether it watches."""
        return self.query.get("watch") == "true"


@dataclass
class KubeApiServer:
    """Objects with versions, their history, and the requests that came.

    Attributes:
        url: Where it is.
        requests: What was asked.
        down: Whether it hangs up on everybody.
        delay_seconds: Time it takes for every answer but the events of a watch.
        bookmark_seconds: Time between two bookmarks of a watch.
        behind: Version its cache has come to; None when that is the newest.
        gone_as_status: Whether a version that is no longer kept is told by status 410, not within the watch.
        refuse: Statuses it answers with, by method, whatever is asked.
        changed: Called after each change, with the collection, the kind of event and the object: controllers.
    """

    url: str = ""
    requests: list[Asked] = field(default_factory=list)
    down: bool = False
    delay_seconds: float = 0.0
    bookmark_seconds: float = 0.05
    behind: int | None = None
    gone_as_status: bool = False
    refuse: dict[str, int] = field(default_factory=dict)
    changed: Callable[[str, str, Json], None] = lambda *_: None
    _objects: dict[Key, Json] = field(default_factory=dict)
    _history: list[tuple[int, str, str, Json]] = field(default_factory=list)
    _versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1000))
    _newest: int = 999
    _kept_since: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _watches: set[web.StreamResponse] = field(default_factory=set)

    # ── what tests do ────────────────────────────────────────────────────────────────────────────

    def put(self, collection: str, body: Json) -> Json:
        """Makes or replaces an object, whatever its version."""
        name = body["metadata"]["name"]
        return self._store(collection, name, body, "MODIFIED" if (collection, name) in self._objects else "ADDED")

    def get(self, collection: str, name: str) -> Json:
        """Gives an object."""
        return copy.deepcopy(self._objects[collection, name])

    def all(self, collection: str) -> list[Json]:
        """Gives the objects of a collection, by name."""
        return [copy.deepcopy(one) for (where, _), one in sorted(self._objects.items()) if where == collection]

    def delete(self, collection: str, name: str) -> None:
        """Removes an object."""
        self._remove(collection, name)

    def compact(self) -> None:
        """Forgets what was before now: watches from then on get 410."""
        self._kept_since = self._newest
        self._history.clear()

    def restore(self, version: int) -> None:
        """Goes back to an earlier version, as from a backup: versions begin again from there."""
        self._versions = itertools.count(version + 1)
        self._newest = version
        self._history = [entry for entry in self._history if entry[0] <= version]

    def cut(self) -> None:
        """Breaks off all watches without a word."""
        for response in self._watches:
            if response._req is not None and response._req.transport is not None:
                response._req.transport.abort()

    @property
    def version(self) -> int:
        """The newest version."""
        return self._newest

    def asked(self, collection: str, *, watch: bool | None = None) -> list[Asked]:
        """The reads of a collection so far."""
        return [
            one
            for one in self.requests
            if one.method == "GET" and one.path == collection and watch in (None, one.watch)
        ]

    # ── the objects ──────────────────────────────────────────────────────────────────────────────

    def _store(self, collection: str, name: str, body: Json, event: str) -> Json:
        self._newest = next(self._versions)
        body = copy.deepcopy(body)
        before = self._objects.get((collection, name))
        meta = body.setdefault("metadata", {})
        meta["name"], meta["resourceVersion"] = name, str(self._newest)
        meta["uid"] = before["metadata"]["uid"] if before else meta.get("uid") or str(uuid.uuid4())
        self._objects[collection, name] = body
        self._tell(collection, event, body)
        return copy.deepcopy(body)

    def _remove(self, collection: str, name: str) -> Json:
        body = self._objects.pop((collection, name))
        self._newest = next(self._versions)
        body["metadata"]["resourceVersion"] = str(self._newest)
        self._tell(collection, "DELETED", body)
        return body

    def _tell(self, collection: str, event: str, body: Json) -> None:
        self._history.append((self._newest, collection, event, copy.deepcopy(body)))
        loop = asyncio.get_running_loop()
        self._ringing = loop.create_task(self._ring())
        self.changed(collection, event, copy.deepcopy(body))

    async def _ring(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _at(self, collection: str, version: int | None) -> Iterable[Json]:
        """The objects as they were at a version."""
        if version is None:
            return [one for (where, _), one in sorted(self._objects.items()) if where == collection]
        then: dict[str, Json] = {}
        for at, where, event, body in self._history:
            if where == collection and at <= version:
                then[body["metadata"]["name"]] = body
                if event == "DELETED":
                    del then[body["metadata"]["name"]]
        return then.values()

    # ── the protocol ─────────────────────────────────────────────────────────────────────────────

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        self.requests.append(Asked(request.method, request.path, dict(request.query)))
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        if (status := self.refuse.get(request.method)) is not None:
            return _status(status, "refused by the test")
        parts = request.path.strip("/").split("/")
        depth = 5 if parts[0] == "api" else 6
        collection, rest = "/" + "/".join(parts[:depth]), parts[depth:]
        body = json.loads(await request.text() or "{}")
        if not rest:
            if request.method == "POST":
                return self._create(collection, body)
            if request.query.get("watch") == "true":
                return await self._watch(collection, request)
            return self._list(collection, request)
        if (collection, rest[0]) not in self._objects:
            return _status(404, f'"{rest[0]}" not found')
        if rest[1:] == ["scale"]:
            return self._scale(collection, rest[0], request.method, body)
        return self._one(collection, rest[0], request.method, body)

    def _create(self, collection: str, body: Json) -> web.Response:
        name = body["metadata"]["name"]
        if (collection, name) in self._objects:
            return _status(409, f'"{name}" already exists')
        return web.json_response(self._store(collection, name, body, "ADDED"), status=201)

    def _one(self, collection: str, name: str, method: str, body: Json) -> web.Response:
        present = self._objects[collection, name]
        given = body.get("metadata", {}).get("resourceVersion")
        if method in {"PUT", "PATCH"} and given not in (None, present["metadata"]["resourceVersion"]):
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        match method:
            case "PUT":
                return web.json_response(self._store(collection, name, body, "MODIFIED"))
            case "PATCH":
                return web.json_response(self._store(collection, name, _merged(present, body), "MODIFIED"))
            case "DELETE":
                return web.json_response(self._remove(collection, name))
        return web.json_response(present)

    def _scale(self, collection: str, name: str, method: str, body: Json) -> web.Response:
        present = self._objects[collection, name]
        if method in {"PUT", "PATCH"}:
            spec = {**present["spec"], "replicas": body["spec"]["replicas"]}
            present = self._store(collection, name, {**present, "spec": spec}, "MODIFIED")
        return web.json_response(
            {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": present["metadata"],
                "spec": {"replicas": present["spec"]["replicas"]},
                "status": {"replicas": present.get("status", {}).get("replicas", 0)},
            }
        )

    def _list(self, collection: str, request: web.Request) -> web.Response:
        wanted = request.query.get("resourceVersion")
        # Without a version the answer is the newest; with one it may come from a cache that is behind.
        version = self.behind if wanted else None
        if wanted and int(wanted) > (self._newest if version is None else version):
            return _status(504, f"Too large resource version: {wanted}, current: {version}")
        items = [one for one in self._at(collection, version) if _selected(one, request.query.get("labelSelector"))]
        meta = {"resourceVersion": str(self._newest if version is None else version)}
        return web.json_response({"kind": "List", "metadata": meta, "items": items})

    async def _watch(self, collection: str, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self._kept_since and self.gone_as_status:
            return _status(410, f"too old resource version: {since} ({self._kept_since})")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._watches.add(response)
        try:
            if since < self._kept_since:
                status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                await _send(response, {"type": "ERROR", "object": status})
                return response
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 300))):
                await self._stream(collection, request, response, since)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._watches.discard(response)
        return response

    async def _stream(self, collection: str, request: web.Request, response: web.StreamResponse, since: int) -> None:
        selector = request.query.get("labelSelector")
        while True:
            for at, where, event, body in list(self._history):
                if at > since and where == collection and _selected(body, selector):
                    await _send(response, {"type": event, "object": body})
            since = max(since, self._newest)
            try:
                async with asyncio.timeout(self.bookmark_seconds), self._news:
                    await self._news.wait()
            except TimeoutError:
                if request.query.get("allowWatchBookmarks") == "true":
                    mark = {"metadata": {"resourceVersion": str(since), "creationTimestamp": None}}
                    await _send(response, {"type": "BOOKMARK", "object": mark})


@asynccontextmanager
async def kube_api() -> AsyncIterator[KubeApiServer]:
    """Runs a server on loopback."""
    server = KubeApiServer()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.cut()
        await runner.cleanup()


def endpoint_slice(
    service: str, *targets: str, name: str = "", leaving: Iterable[str] = (), family: str = "IPv4"
) -> Json:
    """The EndpointSlice of a Service with pods at `targets` (`host:port`, one port for all, each host its own pod)."""
    port = int(targets[0].rpartition(":")[2]) if targets else 1
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": [{"name": "metrics", "port": 9103}, {"name": "grpc", "port": port}],
        "endpoints": [
            {
                "addresses": [target.rpartition(":")[0]],
                "conditions": {"ready": True, "serving": True, "terminating": target in leaving},
                "targetRef": {"kind": "Pod", "uid": f"uid-{target}"},
            }
            for target in targets
        ],
    }


def _selected(body: Json, selector: str | None) -> bool:
    labels = body["metadata"].get("labels", {})
    wanted = dict(part.split("=", 1) for part in (selector or "").split(",") if part)
    return wanted.items() <= labels.items()


def _merged(body: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(body, dict):
        return copy.deepcopy(patch)
    merged = {key: value for key, value in body.items() if key not in patch}
    for key, value in patch.items():
        if value is not None:
            merged[key] = _merged(body.get(key, {}), value) if isinstance(value, dict) else copy.deepcopy(value)
    return merged


async def _send(response: web.StreamResponse, event: Json) -> None:
    await response.write(json.dumps(event).encode() + b"\n")


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "status": "Failure", "code": code, "message": message}, status=code)
