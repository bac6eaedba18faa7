"""Runs the embedder: `python -m services.embedder`."""

from services.common.runner import run
from services.embedder.app import build
from services.embedder.settings import Settings

if __name__ == "__main__":
    run("embedder", Settings, build)
