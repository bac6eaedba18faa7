"""What every other integration test stands on: real servers, and nothing of one test in the next."""

import nats
import pymongo


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
