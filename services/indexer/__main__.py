"""`python -m services.indexer`: one replica of one shard of the index."""

from services.common.runner import run
from services.indexer.app import build
from services.indexer.settings import Settings

if __name__ == "__main__":
    run("indexer", Settings, build)
