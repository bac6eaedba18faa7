"""The embedded mesh as a whole: run it here, start it apart, stop it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import earmark
from earmark.local import access, models, ports, servers, services
from earmark.local import state as states
from earmark.local.logs import LogFile, Record, Sink, last_lines, readable
from earmark.local.paths import DataDir
from earmark.local.process import ChildSpec
from earmark.local.scaling import IndexerScaler
from earmark.local.state import MeshState
from earmark.local.supervisor import SUPERVISOR, StartFailed, Supervisor

DEFAULT_PORT = 8080
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshOptions:
    """How to run the mesh.

    Attributes:
        port: wanted for the gateway's HTTP; the next free one is taken when something else holds it.
        asr: speech recognition model, see `models.ensure`.
        embedding: embedding model, see `models.ensure`.
        shards: shards of the index of a new mesh; one that exists keeps what it has.
        replicas: indexers of each shard; None means as many as before.
    """

    port: int = DEFAULT_PORT
    asr: str | None = None
    embedding: str | None = None
    shards: int | None = None
    replicas: int | None = None

    def arguments(self) -> list[str]:
        """The same as arguments of `python -m earmark.local`."""
        given = [
            ("--asr-model", self.asr),
            ("--embedding-model", self.embedding),
            ("--shards", self.shards and str(self.shards)),
            ("--replicas", self.replicas and str(self.replicas)),
        ]
        return ["--port", str(self.port), *(part for name, value in given if value for part in (name, value))]


class MeshFailed(Exception):
    """The mesh did not come up.

    Attributes:
        message: why.
        lines: what the child to blame wrote last, for a person to read.
        log: its log.
    """

    def __init__(self, message: str, log: Path, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.message = message
        self.log = log
        self.lines = readable(lines)


async def serve(
    data: DataDir, options: MeshOptions, sink: Sink, on_serving: Callable[[MeshState], None] | None = None
) -> None:
    """Runs the mesh in this process until SIGINT or SIGTERM.

    Raises:
        AlreadyRunning: it runs already on this data folder.
        MeshFailed: it did not come up.
    """
    with states.held(data):
        file = LogFile(data.log(SUPERVISOR))

        def tee(record: Record) -> None:
            if record.child == SUPERVISOR:
                file.write(f"{record.time.isoformat(timespec='milliseconds')} {record.level} {record.event}")
            sink(record)

        def say(level: str, event: str) -> None:
            tee(Record(SUPERVISOR, datetime.now(UTC), level, event))

        before = MeshState.load(data)
        for name in states.end_leftovers(before):
            say("warning", f"{name} was left over from a mesh that was killed, and has been ended")
        mesh = MeshState(
            state=states.PREPARING,
            pid=os.getpid(),
            started=states.start_ticks(os.getpid()),
            begun_at=states.now(),
            ports=before.ports,
            shards=_shards_before(before) or options.shards or services.SHARDS,
            replicas=options.replicas or before.replicas or services.REPLICAS,
        )
        mesh.save(data)
        try:
            wiring, embedded = await _prepare(data, options, mesh, say)
            servers_needed = tuple(spec.name for spec in embedded)
            indexers = services.places(mesh.shards, mesh.replicas)
            specs = [*embedded, *services.table(wiring, servers=servers_needed, indexers=indexers)]
            supervisor = Supervisor(data=data, specs=specs, mesh=mesh, sink=tee)
            scaler = IndexerScaler(
                data=data, mesh=mesh, wiring=wiring, servers=servers_needed, children=supervisor, say=say
            )
            await supervisor.run(lambda: on_serving(mesh) if on_serving else None, beside=scaler.run)
        except (StartFailed, servers.MissingProgram, models.ModelNotInstalled, OSError) as error:
            mesh.state, mesh.problem = states.FAILED, str(error)
            mesh.culprit = SUPERVISOR
            if isinstance(error, StartFailed):
                mesh.culprit, mesh.last_lines = error.culprit, error.lines
            say("error", mesh.problem)
            mesh.save(data)
            raise MeshFailed(mesh.problem, data.log(mesh.culprit), mesh.last_lines) from error
        else:
            mesh.state = states.STOPPED
            mesh.save(data)
        finally:
            file.close()


async def _prepare(
    data: DataDir, options: MeshOptions, mesh: MeshState, say: Callable[[str, str], None]
) -> tuple[services.Wiring, list[ChildSpec]]:
    """Finds models, ports and servers, writes them into the state, and gives them with the embedded servers to run."""
    paths = await asyncio.to_thread(_models, data, options)
    http_port = ports.next_free(options.port)
    if http_port != options.port:
        note = f"port {options.port} is taken by {ports.holder(options.port) or 'another program'}: using {http_port}"
        mesh.notes.append(note)
        say("warning", note)
    if options.shards and options.shards != mesh.shards:
        note = f"the index has {mesh.shards} shards and keeps them; change that with `earmark shards scale`"
        mesh.notes.append(note)
        say("warning", note)
    for note in services.unheeded_settings():
        mesh.notes.append(note)
        say("warning", note)
    external = {
        name: os.environ[variable]
        for name, variable in ((servers.NATS, "EARMARK_NATS_URL"), (servers.MONGO, "EARMARK_MONGO_URL"))
        if os.environ.get(variable)
    }
    names = [name for name in (servers.NATS, servers.MONGO) if name not in external]
    needed = services.port_names(services.places(mesh.shards, mesh.replicas))
    assigned = ports.assign([*names, *needed], mesh.ports, taken=[http_port])
    mesh.ports = {**assigned, services.HTTP: http_port}
    embedded: list[ChildSpec] = []
    if servers.NATS in names:
        embedded.append(servers.nats(data, assigned[servers.NATS]))
    if servers.MONGO in names:
        embedded.append(servers.mongo(data, assigned[servers.MONGO]))
    data.objects.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(data.spool, ignore_errors=True)  # a killed transcriber could not tidy up
    data.spool.mkdir()
    wiring = services.Wiring(
        data=data,
        models=paths,
        ports=mesh.ports,
        nats_url=external.get(servers.NATS) or servers.nats_url(assigned[servers.NATS]),
        mongo_url=external.get(servers.MONGO) or servers.mongo_url(assigned[servers.MONGO]),
        object_store_url=os.environ.get("EARMARK_OBJECT_STORE_URL") or data.objects.as_uri(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        shards=mesh.shards,
        gateway_secrets=access.gateway_secrets(data),
    )
    mesh.http_url = wiring.http_url
    return wiring, embedded


def _shards_before(before: MeshState) -> int:
    """Shards of the last run, 0 when there was none; one of an older version had them, and only their ports say so."""
    return before.shards or sum(services.Place.of(name) is not None for name in before.ports)


def _models(data: DataDir, options: MeshOptions) -> models.ModelPaths:
    for given in filter(None, (options.asr, options.embedding)):
        # A service would go on trying to load it, since a name may become reachable; a missing folder does not.
        if given.startswith(("/", ".", "~")) and not Path(given).expanduser().is_dir():
            raise models.ModelNotInstalled(f"there is no model folder {given}")
    return models.ensure(data.models, asr=options.asr, embedding=options.embedding)


def start_detached(data: DataDir, options: MeshOptions) -> Iterator[MeshState]:
    """Starts the mesh as a process of its own, and gives its state again and again until it serves.

    One that somebody else has begun to start is waited for instead.

    Raises:
        MeshFailed: it did not come up.
    """
    process: subprocess.Popen[bytes] | None = None
    if not states.is_held(data):
        data.logs.mkdir(parents=True, exist_ok=True)
        with data.log(SUPERVISOR).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "earmark.local", "--data-dir", str(data.root), *options.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(earmark.__file__).resolve().parents[1])},
            )
    while True:
        # Asked in this order: what a mesh that has ended by now wrote last is seen below.
        ended = process.poll() is not None if process else not states.is_held(data)
        mesh = MeshState.load(data)
        if process is None or mesh.pid == process.pid:
            if mesh.state == states.FAILED:
                raise MeshFailed(mesh.problem, data.log(mesh.culprit), mesh.last_lines)
            yield mesh
            if mesh.state == states.SERVING:
                return
        if ended and states.is_held(data):
            process = None  # another one was quicker
        elif ended:
            log = data.log(SUPERVISOR)
            raise MeshFailed("the mesh ended while it was starting", log, last_lines(log))
        threading.Event().wait(0.1)


def stop(data: DataDir, *, seconds: float = _STOP_SECONDS) -> bool:
    """Ends the mesh of a data folder and waits for it; False when none runs.

    Raises:
        TimeoutError: it did not end in time.
    """
    if not states.is_held(data):
        return False
    told = 0
    deadline = time.monotonic() + seconds
    while states.is_held(data):
        mesh = MeshState.load(data)
        # A supervisor that has only just begun has not written its state yet: what stands there names a dead process.
        if mesh.pid != told and states.start_ticks(mesh.pid) == mesh.started:
            os.kill(mesh.pid, signal.SIGTERM)
            told = mesh.pid
        if time.monotonic() > deadline:
            raise TimeoutError(f"the mesh (process {mesh.pid}) did not end within {seconds:.0f} s")
        threading.Event().wait(0.05)
    return True
