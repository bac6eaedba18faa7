"""The mesh as its manifests configure it, in processes: what they say and what the services understand cannot part."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from earmark.client import Client, EarmarkClientError, TranscriptLine
from earmark.local.models import ModelPaths
from tests.support import pods
from tests.support.clips import clipped
from tests.support.local_mesh import SAMPLES
from tests.support.manifests import combination, overlay
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.timeout(400)


@pytest.mark.slow
def test_the_rendered_mesh_ingests_and_searches(model_paths: ModelPaths, tmp_path: Path) -> None:
    clip = clipped(SAMPLES / "how-gps-finds-you.mp4", tmp_path / "gps.mp4", seconds=20)
    rendered = overlay("dev")
    with pods.running(rendered, model_paths, counts={"recognizer": 1}) as mesh:
        gateway = mesh.one("gateway-0")
        with Client(f"http://{gateway.address}:{gateway.ports['http']}") as stranger, pytest.raises(EarmarkClientError):
            next(stranger.list())  # it takes keys, as its manifest says
        with mesh.client() as client:
            video = client.upload(clip, title="How GPS finds you")
            *_, last = client.watch(video.video_id)
            assert last.status == "ready", last
            found = client.search("where does a phone get its position from")
            assert found.coverage.complete
            assert found.coverage.shards_total == int(rendered.environment("indexer")["EARMARK_SHARDS"])
            assert found.hits[0].video_id == video.video_id


def test_the_rendered_mesh_speaks_tls_among_itself(model_paths: ModelPaths) -> None:
    rendered = combination("mtls", "dev-single-replica")
    counts = {"slicer": 0, "recognizer": 0}
    with pods.running(rendered, model_paths, counts=counts, settings={"EARMARK_EMBEDDING_MODEL": "hash"}) as mesh:
        embedder = mesh.one("embedder-0")
        plain = f"{embedder.address}:{embedder.ports['grpc']}"
        with grpc.insecure_channel(plain) as channel, pytest.raises(grpc.FutureTimeoutError):  # noqa: TID251
            grpc.channel_ready_future(channel).result(timeout=2)
        with mesh.client() as client:
            made = client.import_transcript("Talk", [TranscriptLine(0, 5, "Amber and quartz are stones.")])
            video_id = made.video.video_id
            eventually_sync(lambda: client.status(video_id).status == "ready", 60, message="ready")
            found = client.search("quartz")
            assert found.coverage.complete
            assert set(found.coverage.legs) == {"semantic", "keyword"}
            assert found.hits[0].video_id == video_id
