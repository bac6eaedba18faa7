"""`python -m earmark.local`: the mesh as a process of its own; `earmark up --detach` starts it."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from earmark.local import mesh
from earmark.local.paths import DataDir
from earmark.local.state import AlreadyRunning


def main() -> int:
    """Runs the mesh until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m earmark.local")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=mesh.DEFAULT_PORT)
    parser.add_argument("--asr-model")
    parser.add_argument("--embedding-model")
    parser.add_argument("--shards", type=int)
    parser.add_argument("--replicas", type=int)
    given = parser.parse_args()
    options = mesh.MeshOptions(
        port=given.port,
        asr=given.asr_model,
        embedding=given.embedding_model,
        shards=given.shards,
        replicas=given.replicas,
    )
    try:
        asyncio.run(mesh.serve(DataDir.resolve(given.data_dir), options, lambda _: None))
    except (mesh.MeshFailed, AlreadyRunning):
        return 1  # said in the state and in the log
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
