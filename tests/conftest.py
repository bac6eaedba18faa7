"""Fixtures for every layer: real NATS, a real MongoDB-protocol server, an object store folder, media."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pymongo
import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from earmark.local import models
from services.common.settings import CommonSettings
from tests.support import mesh, servers
from tests.support.media import MediaMaker

REPOSITORY = Path(__file__).resolve().parents[1]
# How fast examples are made says something about the machine only, and a busy one must not fail a test.
settings.register_profile("earmark", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("earmark")
# Not with the values of all variables, which take seconds to write down.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
LAYERS = ("unit", "contract", "integration", "e2e", "chaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the layer whose folder it is in, so that ``-m unit`` needs no decorators."""
    for item in items:
        folders = item.path.relative_to(REPOSITORY).parts
        layer = next((part for part in folders if part in LAYERS), None)
        if layer:
            item.add_marker(layer)


class OneMesh(LoadFileScheduling):
    """Gives out whole files, as `--dist loadfile` does, and the end-to-end tests as one: a mesh takes long to start."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "tests/e2e" if file.startswith("tests/e2e/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneMesh | None:
    """Chooses it where whole files are asked for."""
    return OneMesh(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one nats-server with JetStream for the whole run; streams of other tests may be in it."""
    given = os.environ.get("EARMARK_TEST_NATS_URL")
    if given:
        yield given
        return
    try:
        with servers.quick_folder(tmp_path_factory) as folder, servers.nats_server(folder) as url:
            yield url
    except servers.MissingProgram as missing:
        pytest.skip(str(missing))


@pytest.fixture
async def nats_url(nats_server: str) -> AsyncIterator[str]:
    """URL of the nats-server, with no stream in it before and after the test."""
    await _delete_streams(nats_server)
    yield nats_server
    await _delete_streams(nats_server)


async def _delete_streams(url: str) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(stream.config.name)
    await client.close()


@pytest.fixture(scope="session")
def lasting_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of another nats-server for what serves a file of tests: :func:`nats_url` leaves its streams alone."""
    try:
        with servers.quick_folder(tmp_path_factory) as folder, servers.nats_server(folder) as url:
            yield url
    except servers.MissingProgram as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one MongoDB-protocol server for the whole run; take :func:`mongo_database` for a database."""
    given = os.environ.get("EARMARK_TEST_MONGO_URL")
    if given:
        yield given
        return
    try:
        with servers.quick_folder(tmp_path_factory) as folder, servers.mongo_server(folder) as url:
            yield url
    except servers.MissingProgram as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def _mongo_client(mongo_url: str) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient(mongo_url) as client:
        yield client


@pytest.fixture(scope="session")
def _kept_database(_mongo_client: pymongo.MongoClient[dict[str, Any]]) -> Iterator[str]:
    name = f"earmark_test_{uuid.uuid4().hex}"
    yield name
    _mongo_client.drop_database(name)


@pytest.fixture
def mongo_database(_mongo_client: pymongo.MongoClient[dict[str, Any]], _kept_database: str) -> str:
    """Name of a database with nothing in it but the indexes of the tests before, which take long to make anew."""
    database = _mongo_client[_kept_database]
    for name in database.list_collection_names():
        database[name].delete_many({})
    return _kept_database


@pytest.fixture
def object_store_url(tmp_path: Path) -> str:
    """``file://`` URL of an empty object store folder."""
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder.as_uri()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> MediaMaker:
    """Makes small media files of tones and silence: ``media.wav(...)``, ``media.mp4(...)``."""
    return MediaMaker(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The wider set of real media that lies beside the repository; a test that needs it skips without it."""
    folder = Path(os.environ.get("EARMARK_SHARED_MEDIA") or REPOSITORY.parent / "shared" / "media")
    if not folder.is_dir():
        pytest.skip("the shared media set is not at ../shared/media (or EARMARK_SHARED_MEDIA)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for Playwright's ``executable_path``; a test that needs it skips without it."""
    programs = (servers.find_program(name) for name in ("chromium", "chromium-browser"))
    found = os.environ.get("EARMARK_TEST_CHROMIUM") or next(filter(None, programs), None)
    if not found:
        pytest.skip("no Chromium: run `make chromium` as root, or set EARMARK_TEST_CHROMIUM to its path")
    return found


@pytest.fixture(scope="session")
def model_paths() -> models.ModelPaths:
    """Paths of the real models, joined once a machine; a test that needs them skips where they are not installed."""
    folder = os.environ.get("EARMARK_TEST_MODELS_DIR") or REPOSITORY / ".earmark" / "models"
    try:
        return models.ensure(Path(folder))
    except models.ModelNotInstalled as missing:
        pytest.skip(str(missing))


@pytest.fixture
def common_settings(nats_url: str, mongo_url: str, mongo_database: str, object_store_url: str) -> CommonSettings:
    """Settings of a service that uses the servers of this test."""
    return mesh.common_settings(nats_url, mongo_url, mongo_database, object_store_url)


@pytest.fixture(scope="module")
async def lasting_settings(
    lasting_nats_server: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CommonSettings]:
    """Settings of a service that serves all tests of a file; each test begins with `Gateway.clean()`."""
    name = f"earmark_test_{uuid.uuid4().hex}"
    objects = tmp_path_factory.mktemp("objects").as_uri()
    await _delete_streams(lasting_nats_server)
    yield mesh.common_settings(lasting_nats_server, mongo_url, name, objects)
    await _delete_streams(lasting_nats_server)
    with pymongo.MongoClient(mongo_url) as client:
        client.drop_database(name)


@pytest.fixture
async def backbone(common_settings: CommonSettings) -> AsyncIterator[mesh.Backbone]:
    """Bus, database, video store and object store on the real servers of this test."""
    async with mesh.backbone(common_settings) as connected:
        yield connected
