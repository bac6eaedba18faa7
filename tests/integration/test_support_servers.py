"""The servers that every other integration test stands on are real: they keep what they are told."""

from pathlib import Path

import nats
import pymongo

from tests.support import servers


async def test_nats_keeps_a_stream_over_a_restart(tmp_path: Path) -> None:
    with servers.nats_server(tmp_path / "store") as url:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
        await client.jetstream().publish("kept.one", b"first")
        await client.close()
    with servers.nats_server(tmp_path / "store") as url:
        client = await nats.connect(url)
        message = await client.jetstream().get_msg("KEPT", seq=1)
        await client.close()
    assert message.data == b"first"


async def test_each_test_finds_nats_without_streams(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    assert await client.jetstream().streams_info() == []
    await client.jetstream().add_stream(name="LEFT_BEHIND", subjects=["left.>"])
    await client.close()


async def test_streams_of_another_test_are_gone(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    assert await client.jetstream().streams_info() == []
    await client.close()


def test_mongo_takes_an_update_with_a_pipeline(mongo_url: str, mongo_database: str) -> None:
    with pymongo.MongoClient(mongo_url) as client:
        videos = client[mongo_database]["videos"]
        videos.insert_one({"_id": "vid_1", "revision": 1})
        videos.update_one({"_id": "vid_1"}, [{"$set": {"revision": {"$add": ["$revision", 1]}}}])
        assert videos.find_one({"_id": "vid_1"}) == {"_id": "vid_1", "revision": 2}
