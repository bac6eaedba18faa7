"""Every service is replaced, pod by pod as Kubernetes does it, while people search and put transcripts in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.local.models import ModelPaths
from tests.support import pods
from tests.support.load import Load, under_load
from tests.support.manifests import overlay
from tests.support.media import MediaMaker, Tone, silence
from tests.support.pods import REPOSITORY, Pods
from tests.support.waiting import eventually_sync

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

ORDER = ("embedder", "slicer", "recognizer", "preparer", "gateway", "indexer")
"""That of docs/operations.md: indexers last."""
QUICK = {"EARMARK_EMBEDDING_MODEL": "hash", "EARMARK_RECOGNIZER": "scripted", "EARMARK_RECOGNIZER_WORKERS": "1"}
"""Neither model is what is tried here."""
RELEASED = os.environ.get("EARMARK_TEST_RELEASED", "9736a3c3e67a88f859607d09cf223169e1a3ddd6")
"""The version before: the release that a new one is rolled out over. Moved with each release."""
NO_MODELS = ModelPaths(asr="/nowhere", embedding="/nowhere")


def replace_all(mesh: Pods, load: Load, *, repository: Path = REPOSITORY) -> None:
    """Replaces every pod, one at a time, and waits until each is ready."""
    for workload in ORDER:
        for pod in mesh.of(workload):
            left = [one for one in load.gateways if one is not pod]
            load.gateways = left  # its endpoint goes before it is told to end
            assert pod.stop() == 0, pod.tail()
            pod.start(repository=repository)
            pod.until_ready()
            if workload == "gateway":
                load.gateways = [*left, pod]


def all_there(mesh: Pods, load: Load) -> None:
    """Every transcript that was taken is ready, and is found by the word that only it has."""
    with mesh.client() as client:
        for video_id, word in load.put.items():
            eventually_sync(lambda one=video_id: client.status(one).status == "ready", 60, message=f"{video_id} ready")
            hits = eventually_sync(
                lambda one=word: client.search(one, mode="keyword").hits, 30, message=f"{word} found"
            )
            assert hits[0].video_id == video_id


def test_a_rolling_restart_loses_no_request_and_no_event(media: MediaMaker) -> None:
    rendered = overlay("base")
    with pods.running(rendered, NO_MODELS, settings=QUICK) as mesh:
        for pod in mesh.pods:
            assert pod.alive
        clip = media.wav([part for _ in range(20) for part in (Tone(3.0), silence(0.5))], name="long")
        with under_load(mesh) as load:
            with mesh.client() as client:
                video = client.upload(clip, title="On its way all the while")
            replace_all(mesh, load)
        assert load.problems == []
        assert load.searches > 100
        all_there(mesh, load)
        with mesh.client() as client:
            *_, last = client.watch(video.video_id)
            assert last.status == "ready", last


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout of the version before."""
    folder = tmp_path_factory.mktemp("released") / "checkout"
    git = shutil.which("git")
    known = git and subprocess.run(
        [git, "cat-file", "-e", f"{RELEASED}^{{commit}}"], cwd=REPOSITORY, capture_output=True, check=False
    )
    if not git or not known or known.returncode != 0:
        pytest.skip(f"this checkout has no commit {RELEASED}; fetch the history, or set EARMARK_TEST_RELEASED")
    subprocess.run([git, "clone", "--quiet", "--shared", "--no-checkout", REPOSITORY, folder], check=True)
    subprocess.run([git, "checkout", "--quiet", RELEASED], cwd=folder, check=True)
    yield folder
    shutil.rmtree(folder)


def test_a_new_version_is_rolled_out_and_back_beside_the_one_before(released: Path) -> None:
    # The version before makes no pictures and no renditions: it knows no preparer.
    with (
        pods.running(overlay("base"), NO_MODELS, counts={"preparer": 0}, settings=QUICK, repository=released) as mesh,
        under_load(mesh) as load,
    ):
        replace_all(mesh, load)
        forward = list(load.problems)
        replace_all(mesh, load, repository=released)
        back = list(load.problems)
        load.stop()
        all_there(mesh, load)
    assert forward == [], "while the new version came"
    assert back == [], "while the version before came back"
