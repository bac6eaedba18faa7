"""The whole mesh as processes, started and driven by the `earmark` command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pymongo

from earmark.client import Client, ConnectionFailed, Unavailable
from earmark.internal.v1 import shard_service_pb2 as shard_pb
from earmark.internal.v1 import shard_service_pb2_grpc as shard_grpc
from earmark.local import servers, services
from earmark.local import state as states
from earmark.local.models import ModelPaths
from earmark.local.paths import DataDir
from earmark.local.state import MeshState
from tests.support.ports import free_port
from tests.support.waiting import eventually_sync

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "samples"
START_SECONDS = 300
READY_SECONDS = 300


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class LocalMesh:
    """A mesh on a data folder of its own.

    Args:
        folder: the data folder.
        models: where joined and exported models are kept, shared between meshes.
        settings: further settings of its services, `EARMARK_…`.
    """

    def __init__(self, folder: Path, models: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = DataDir(folder)
        self._port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EARMARK_")},
            "EARMARK_DATA_DIR": str(folder),
            "EARMARK_MODELS_DIR": str(models),
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
            **(settings or {}),
        }

    @property
    def state(self) -> MeshState:
        return MeshState.load(self.data)

    @property
    def url(self) -> str:
        return self.state.http_url

    def earmark(self, *arguments: str, timeout: float = READY_SECONDS) -> Result:
        """Runs the command as a user would."""
        done = subprocess.run(
            [sys.executable, "-m", "earmark", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def up(self) -> Result:
        """Starts it and waits until it serves."""
        result = self.earmark("up", "--detach", "--port", str(self._port), timeout=START_SECONDS + 30)
        assert result.code == 0, f"the mesh did not start:\n{result.out}\n{result.err}"
        return result

    def down(self) -> Result:
        """Ends it."""
        return self.earmark("down")

    @contextmanager
    def client(self) -> Iterator[Client]:
        with Client(self.url) as client:
            yield client

    def pid(self, child: str) -> int:
        """Process of a child; 0 while it has none."""
        return next(one.pid for one in self.state.children if one.name == child)

    def kill(self, child: str) -> None:
        """SIGKILL to a child, once it has a process; returns when the supervisor has seen it."""
        pid = eventually_sync(lambda: self.pid(child), 30, message=f"a process of {child}")
        os.kill(pid, signal.SIGKILL)
        eventually_sync(lambda: self.pid(child) != pid, 30, message=f"the end of {child}")

    def kill_all(self) -> None:
        """SIGKILL to the supervisor, with which every child dies, and every child's children."""
        groups = {child.pid for child in self.state.children}
        os.kill(self.state.pid, signal.SIGKILL)
        eventually_sync(lambda: not states.is_held(self.data), 30, message="the end of the mesh")
        eventually_sync(lambda: not _alive_in(groups), 30, message="the end of all processes of the mesh")

    def status(self, video_id: str) -> str:
        """Status of a video; empty while the gateway is away."""
        try:
            with self.client() as client:
                return client.status(video_id).status
        except (ConnectionFailed, Unavailable):
            return ""

    def until_settled(self, video_id: str, seconds: float = READY_SECONDS) -> str:
        """Waits until a video is ready or failed and says which, even where the gateway goes away meanwhile."""
        return eventually_sync(
            lambda: status if (status := self.status(video_id)) in ("ready", "failed") else "",
            seconds,
            message=f"{video_id} ready or failed",
        )

    @contextmanager
    def database(self) -> Iterator[Any]:
        """The mesh's own database."""
        with pymongo.MongoClient(servers.mongo_url(self.state.ports[servers.MONGO])) as client:
            yield client["earmark"]

    def stored_chunks(self, video_id: str) -> list[dict[str, Any]]:
        """The chunks in a video's document, with their vectors."""
        with self.database() as database:
            document = database.videos.find_one({"_id": video_id})
        assert document is not None
        return list(document["transcripts"])

    def indexed_chunk_ids(self, video_id: str) -> list[str]:
        """Ids of the chunks that the shards hold of a video, each as often as it is held."""
        chunk = self.stored_chunks(video_id)[0]
        # BinData of subtype vector: two bytes say which numbers follow.
        request = shard_pb.SearchShardRequest(vector=bytes(chunk["embedding"])[2:], k=1000)
        request.filter.video_ids.append(video_id)
        found: list[str] = []
        for name in filter(services.Place.of, self.state.ports):
            with grpc.insecure_channel(f"127.0.0.1:{self.state.ports[name]}") as channel:  # noqa: TID251  (a test's own look)
                stub = shard_grpc.ShardServiceStub(channel)
                revision = stub.GetShard(shard_pb.GetShardRequest(), timeout=10).model_revision
                if not revision:
                    continue  # it holds nothing
                request.model_revision = revision
                found += [hit.chunk.chunk_id for hit in stub.SearchShard(request, timeout=10).hits]
        return found

    def objects_of(self, video_id: str) -> list[Path]:
        """Files the object store holds of a video."""
        return [path for path in self.data.objects.rglob("*") if path.is_file() and video_id in str(path)]


@contextmanager
def local_mesh(folder: Path, models: Path, settings: Mapping[str, str] | None = None) -> Iterator[LocalMesh]:
    """A mesh that serves; ended afterwards."""
    mesh = LocalMesh(folder, models, settings)
    mesh.up()
    try:
        yield mesh
    finally:
        mesh.down()
        assert not states.is_held(mesh.data), "the mesh did not end"


def models_folder(paths: ModelPaths) -> Path:
    """Where the joined models lie, to be shared by meshes."""
    return Path(paths.asr).parent if Path(paths.asr).is_dir() else REPOSITORY / ".earmark" / "models"


def questions() -> list[dict[str, Any]]:
    """The samples' questions, each with the window in which it is answered."""
    rows: list[dict[str, Any]] = json.loads((SAMPLES / "questions.json").read_text())
    return rows


def _alive_in(groups: Collection[int]) -> list[int]:
    """Processes of these process groups that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(group) in groups and state != "Z":
            found.append(int(folder.name))
    return found
