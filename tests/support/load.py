"""People who search and put transcripts in, all the while something is done to the mesh."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from earmark.client import Client, EarmarkClientError, TranscriptLine
from tests.support.pods import Pod, Pods
from tests.support.waiting import eventually_sync

WORDS = ("amber", "basket", "candle", "delta", "ember", "falcon", "garden", "harbour", "island", "jasmine", "kettle")


@dataclass
class Load:
    """What was asked, and what came of it.

    Attributes:
        gateways: Those a Service would send to. One that is told to end is taken out first, as endpoints are.
        problems: Requests that failed, and searches that lacked a shard or a leg, in words.
        searches: Searches that were answered whole.
        put: Ids of transcripts that were taken, each with the word that only it has.
    """

    mesh: Pods
    gateways: list[Pod]
    problems: list[str] = field(default_factory=list)
    searches: int = 0
    put: dict[str, str] = field(default_factory=dict)
    _turn: Iterator[int] = field(default_factory=itertools.count)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def client(self) -> Iterator[Client]:
        pods = list(self.gateways)
        pod = pods[next(self._turn) % len(pods)]
        with Client(f"http://{pod.address}:{pod.ports['http']}", key=self.mesh.admin_key) as client:
            yield client

    def search(self) -> None:
        """Searches until stopped."""
        for number in itertools.count():
            if self._stop.wait(0.02):
                return
            try:
                with self.client() as client:
                    found = client.search(WORDS[number % len(WORDS)], limit=5)
            except EarmarkClientError as error:
                self.problems.append(f"search {number}: {error!r}")
                continue
            if not found.coverage.complete or len(found.coverage.legs) != 2:
                self.problems.append(f"search {number}: {found.coverage}")
            else:
                self.searches += 1

    def import_transcripts(self) -> None:
        """Puts transcripts in until stopped."""
        for number in itertools.count():
            if self._stop.wait(0.2):
                return
            word = f"unheard{number}of"
            lines = [
                TranscriptLine(at * 5.0, at * 5.0 + 4, f"The {WORDS[(number + at) % len(WORDS)]} and the {word} stand.")
                for at in range(12)
            ]
            try:
                with self.client() as client:
                    self.put[client.import_transcript(f"Talk {number}", lines).video.video_id] = word
            except EarmarkClientError as error:
                self.problems.append(f"import {number}: {error!r}")

    def flows(self) -> bool:
        """Whether some of both got through. Raises AssertionError with what went wrong last."""
        assert self.searches > 10, self.problems[-3:]
        assert len(self.put) > 3, self.problems[-3:]
        return True

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def under_load(mesh: Pods) -> Iterator[Load]:
    """Load on a mesh, from a moment at which searches are answered whole until the end of the block."""
    load = Load(mesh, mesh.of("gateway"))
    threads = [
        threading.Thread(target=work, name=work.__name__)
        for work in (load.search, load.search, load.import_transcripts)
    ]
    for thread in threads:
        thread.start()
    try:
        eventually_sync(load.flows, 60, message="load")
        load.problems.clear()  # of the mesh's first moments, before its shards had settled
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join(60)
