"""One mesh for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.local.models import ModelPaths
from tests.support.local_mesh import REPOSITORY, LocalMesh, local_mesh

SHORT_SLICES = {"EARMARK_FIRST_SLICE_SECONDS": "12", "EARMARK_SLICE_SECONDS": "15"}


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_paths: ModelPaths) -> Iterator[LocalMesh]:
    """A mesh with real models, and slices so short that a minute of speech has several."""
    models = Path(model_paths.asr).parent if Path(model_paths.asr).is_dir() else REPOSITORY / ".earmark" / "models"
    with local_mesh(tmp_path_factory.mktemp("mesh") / "data", models, SHORT_SLICES) as running:
        yield running
