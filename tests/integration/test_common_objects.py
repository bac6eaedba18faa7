"""One suite for both kinds of object store: a folder, and S3 (moto's server speaks its protocol)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.common.errors import InvalidArgument, ObjectNotFound
from services.common.objects import PART_BYTES, ObjectStore
from tests.support import s3


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3.s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "folder":
        return ObjectStore.open((tmp_path / "objects").as_uri())
    endpoint = request.getfixturevalue("s3_endpoint")
    for name, value in s3.environment(endpoint).items():
        monkeypatch.setenv(name, value)
    bucket = s3.make_bucket(endpoint, tmp_path.name)
    return ObjectStore.open(f"s3://{bucket}/some/prefix")


async def blocks(count: int, size: int = 100_000) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 251]) * size


async def test_a_stream_is_kept_whole(store: ObjectStore) -> None:
    count = 2 * PART_BYTES // 100_000 + 3
    assert await store.put("videos/a/media", blocks(count)) == count * 100_000
    assert await store.size("videos/a/media") == count * 100_000
    read = b"".join([block async for block in store.stream("videos/a/media")])
    assert read == b"".join([block async for block in blocks(count)])


async def test_ranges(store: ObjectStore) -> None:
    await store.put("videos/a/media", bytes(range(100)))
    assert b"".join([b async for b in store.stream("videos/a/media", 10, 20)]) == bytes(range(10, 20))
    assert b"".join([b async for b in store.stream("videos/a/media", 95)]) == bytes(range(95, 100))


async def test_a_stream_that_breaks_leaves_nothing(store: ObjectStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for block in blocks(80):
            yield block
        raise ConnectionResetError("the uploader went away")

    with pytest.raises(ConnectionResetError):
        await store.put("videos/a/media", broken())
    assert await store.list("videos/") == []
    with pytest.raises(ObjectNotFound):
        await store.get("videos/a/media")


async def test_what_is_not_there_is_said_so(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        await store.size("nope")
    with pytest.raises(ObjectNotFound):
        _ = [block async for block in store.stream("nope")]
    with pytest.raises(ObjectNotFound):
        async with store.local_copy("nope"):
            pass
    await store.delete("nope")


async def test_a_prefix_is_removed_whole_and_alone(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    await store.put_file("videos/a/slices/1.flac", file)
    await store.put("videos/a/media", b"x")
    await store.put("videos/ab/media", b"y")
    async with store.local_copy("videos/a/slices/1.flac") as path:
        assert path.read_bytes() == b"hello"
    assert await store.delete_prefix("videos/a/") == 2
    assert await store.list("videos/") == ["videos/ab/media"]


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="neither"):
        ObjectStore.open("ftp://somewhere")
