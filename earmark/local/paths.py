"""Where the embedded mesh keeps things."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DATA_DIR_VARIABLE = "EARMARK_DATA_DIR"
MODELS_DIR_VARIABLE = "EARMARK_MODELS_DIR"
DEFAULT_DATA_DIR = ".earmark"


@dataclass(frozen=True, slots=True)
class DataDir:
    """The data folder and what lies in it. `root` is absolute."""

    root: Path

    @classmethod
    def resolve(cls, given: Path | None = None) -> DataDir:
        """The folder given, else the one EARMARK_DATA_DIR names, else `.earmark` in the working folder."""
        return cls((given or Path(os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR)).expanduser().resolve())

    @property
    def nats(self) -> Path:
        """JetStream's file store."""
        return self.root / "nats"

    @property
    def mongo(self) -> Path:
        """The documents."""
        return self.root / "mongo"

    @property
    def objects(self) -> Path:
        """Media, slice audio and transcripts."""
        return self.root / "objects"

    @property
    def models(self) -> Path:
        """The models, joined and exported once; EARMARK_MODELS_DIR shares them between data folders."""
        return Path(os.environ.get(MODELS_DIR_VARIABLE) or self.root / "models").expanduser().resolve()

    @property
    def spool(self) -> Path:
        """Files under way, which nobody misses after a crash."""
        return self.root / "spool"

    @property
    def logs(self) -> Path:
        """One log file a child."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """State of the running mesh and files made for this run."""
        return self.root / "run"

    @property
    def admin_key(self) -> Path:
        """The key of a mesh that takes keys (EARMARK_ACCESS=keys), readable by its owner alone."""
        return self.root / "admin-key"

    @property
    def url_secret(self) -> Path:
        """What such a mesh signs URLs with."""
        return self.root / "url-secret"

    def indexer(self, shard: int, replica: int) -> Path:
        """Snapshots of one index replica."""
        return self.root / f"indexer-s{shard}r{replica}"

    def log(self, child: str) -> Path:
        """Log file of one child."""
        return self.logs / f"{child}.log"
