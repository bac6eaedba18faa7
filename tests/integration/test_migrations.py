"""The schema goes forward and back: from what the first release stored, killed in the middle, two at once, too new."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from services.common import mongo
from services.common.errors import FailedPrecondition, InvalidArgument
from services.common.migrations.command import main
from services.common.migrations.known import MIGRATIONS
from services.common.migrations.migration import Migration, Steps
from services.common.migrations.schema import Schema
from services.common.mongo import Database
from services.common.settings import CommonSettings
from services.common.slots import SlotTables
from tests.support.service_settings import settings_class
from tests.support.waiting import eventually

GOLDEN = Path(__file__).resolve().parents[1] / "contract" / "golden" / "documents.json"
REPOSITORY = Path(__file__).resolve().parents[2]
NEWEST = len(MIGRATIONS)
NOTES, STEP = 60, 10


@pytest.fixture
def mongo_database(mongo_url: str) -> Iterator[str]:
    """A database without indexes."""
    name = f"earmark_test_{uuid.uuid4().hex}"
    yield name
    with pymongo.MongoClient(mongo_url) as client:
        client.drop_database(name)


@pytest.fixture
def settings(mongo_url: str, mongo_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommonSettings:
    monkeypatch.setenv("EARMARK_MONGO_URL", mongo_url)
    monkeypatch.setenv("EARMARK_MONGO_DATABASE", mongo_database)
    monkeypatch.setenv("EARMARK_OBJECT_STORE_URL", tmp_path.as_uri())
    return CommonSettings()


@pytest.fixture
async def database(settings: CommonSettings) -> AsyncIterator[Database]:
    async with AsyncExitStack() as stack:
        yield await mongo.connect(settings, stack)


@pytest.fixture
async def released(database: Database) -> Database:
    """A database as the first release leaves it, with the indexes that it makes at its start."""
    stored: dict[str, list[dict[str, Any]]] = json_util.loads(GOLDEN.read_text())
    for name, documents in stored.items():
        if documents:
            await database[name].insert_many(documents)
    async for _ in MIGRATIONS[0].up(database):
        pass
    return database


async def everything(database: Database) -> dict[str, list[bytes]]:
    """All documents as they lie there, but for the schema's own."""
    raw = CodecOptions(document_class=RawBSONDocument)
    names = [name for name in await database.list_collection_names() if name != "schema"]
    found = {name: await database[name].with_options(raw).find().sort("_id").to_list() for name in names}
    return {name: [document.raw for document in documents] for name, documents in found.items() if documents}


async def indexes(database: Database) -> set[str]:
    names = await database.list_collection_names()
    return {
        f"{name}.{index['name']}"
        for name in names
        async for index in await database[name].list_indexes()
        if index["name"] != "_id_"
    }


async def left(database: Database) -> list[int]:
    return [await one.left(database) for one in MIGRATIONS]


async def made(database: Database) -> list[int]:
    return [await one.made(database) for one in MIGRATIONS]


async def numbers(schema: Schema) -> list[tuple[str, int]]:
    return [(change["direction"], change["number"]) for change in (await schema.state()).history]


# ── the migrations of this release ───────────────────────────────────────────────────────────────


async def test_what_the_first_release_left_is_brought_forward(released: Database) -> None:
    assert await left(released) == [0, 4, 1]
    changes = await Schema(released).migrate()
    assert [(one.migration.number, one.direction, one.count) for one in changes] == [
        (1, "up", 0),
        (2, "up", 4),
        (3, "up", 1),
    ]
    assert await left(released) == [0, 0, 0]
    assert {"videos.external_id", "continuations.video", "uploads.expired", "claims.over"} <= await indexes(released)
    unique = await released["videos"].index_information()
    assert unique["external_id"]["unique"]
    assert await SlotTables(released).begun_with() == 2
    state = await Schema(released).state()
    assert (state.version, state.readable_by, state.held_at, state.doing) == (NEWEST, 0, None, "")
    for change in state.history:
        assert change["by"].endswith(f"/{os.getpid()}")
        assert change["seconds"] >= 0


async def test_forward_twice_is_once(released: Database) -> None:
    await Schema(released).migrate()
    before = await everything(released), await Schema(released).state()
    assert await Schema(released).migrate() == []
    assert (await everything(released), await Schema(released).state()) == before


async def test_back_again_nothing_is_left_of_it(released: Database) -> None:
    documents, was = await everything(released), await indexes(released)
    await Schema(released).migrate()
    assert await everything(released) != documents
    await Schema(released).move(1)
    assert (await everything(released), await indexes(released)) == (documents, was)
    await Schema(released).move(0)
    assert (await everything(released), await indexes(released)) == (documents, set())
    assert await numbers(Schema(released)) == [("up", 1), ("up", 2), ("up", 3), ("down", 3), ("down", 2), ("down", 1)]


async def test_what_a_table_was_made_with_is_not_taken_back(database: Database) -> None:
    await SlotTables(database).load_or_create(5)
    await Schema(database).migrate()
    await Schema(database).move(0)
    assert await SlotTables(database).begun_with() == 5


async def test_a_table_that_was_changed_does_not_say_what_it_was_made_with(released: Database) -> None:
    tables = SlotTables(released)
    table = await tables.load()
    assert table is not None
    assert await tables.set_shards(table, 3)
    await Schema(released).migrate()
    assert await tables.begun_with() is None


async def test_what_an_older_release_wrote_since_is_made_up_for(released: Database) -> None:
    schema = Schema(released)
    await schema.migrate()
    await released["routing"].update_one({}, {"$unset": {"begun_with": "", "begun_with_filled": ""}})
    await released["uploads"].drop_index("expired")
    changes = await schema.migrate()
    assert [(one.migration.number, one.count) for one in changes] == [(2, 1), (3, 1)]
    assert (await schema.state()).version == NEWEST


async def test_where_an_operator_holds_it_no_start_goes_beyond(released: Database) -> None:
    schema = Schema(released)
    await schema.migrate()
    await schema.move(2)
    assert await schema.migrate() == []
    assert (await made(released))[2] == 0
    await released["claims"].drop_index("over")
    assert [one.migration.number for one in await schema.migrate()] == [2], "below it is looked after"
    assert [one.migration.number for one in await schema.move(NEWEST)] == [3]
    assert (await schema.state()).held_at is None


# ── releases of other versions ───────────────────────────────────────────────────────────────────


async def newer(database: Database, *, readable_by: int) -> None:
    await Schema(database).migrate()
    fields = {"version": NEWEST + 2, "readable_by": readable_by}
    await database["schema"].update_one({"_id": "schema"}, {"$set": fields})


async def test_a_newer_schema_that_says_so_is_worked_with_and_left_alone(released: Database) -> None:
    await newer(released, readable_by=NEWEST)
    await released["claims"].drop_index("over")  # which the newer release may have had reason to
    schema = Schema(released)
    await schema.check()
    assert await schema.migrate() == []
    with pytest.raises(FailedPrecondition, match=f"migrate down --to {NEWEST}"):
        await schema.move(1)
    assert (await schema.state()).version == NEWEST + 2


@pytest.mark.parametrize("service", ["gateway", "embedder", "indexer", "transcriber"])
async def test_no_service_starts_on_a_schema_it_cannot_read(
    released: Database, settings: CommonSettings, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await newer(released, readable_by=NEWEST + 1)
    monkeypatch.setenv("EARMARK_INDEX_DIR", str(tmp_path / "index"))
    monkeypatch.setenv("EARMARK_INDEXER_SHARD", "0")
    monkeypatch.setenv("EARMARK_INDEXER_REPLICA", "0")
    app = __import__(f"services.{service}.app", fromlist=["build"])
    async with AsyncExitStack() as stack:
        with pytest.raises(FailedPrecondition, match=f"schema {NEWEST + 2}.*migrate down --to {NEWEST}") as refused:
            await app.build(settings_class(f"services.{service}")(), stack)
    assert refused.value.reason == "SCHEMA_TOO_NEW"


async def test_there_is_no_other_version(database: Database) -> None:
    with pytest.raises(InvalidArgument, match=f"0 to {NEWEST}"):
        await Schema(database).move(NEWEST + 1)


# ── many steps: killed, and two at once ──────────────────────────────────────────────────────────


async def _empty(database: Database) -> Steps:
    result = await database["notes"].update_many({"seen": True}, {"$unset": {"seen": "", "times": ""}})
    yield result.modified_count


async def _unseen(database: Database) -> int:
    return await database["notes"].count_documents({"seen": None})


async def _seen(database: Database) -> int:
    return await database["notes"].count_documents({"seen": True})


def filling(*, readable_from: int = 0, rests: asyncio.Event | None = None) -> Sequence[Migration]:
    """A migration of six steps; it rests before the third until it is told to go on."""

    async def fill(database: Database) -> Steps:
        while ids := [one["_id"] async for one in database["notes"].find({"seen": None}, {"_id": 1}).limit(STEP)]:
            if rests and await _seen(database) == 2 * STEP:
                await rests.wait()
            query = {"_id": {"$in": ids}, "seen": None}
            result = await database["notes"].update_many(query, {"$set": {"seen": True}, "$inc": {"times": 1}})
            yield result.modified_count

    return [
        Migration(
            number=1, title="notes seen", readable_from=readable_from, up=fill, down=_empty, left=_unseen, made=_seen
        )
    ]


@pytest.fixture
async def notes(database: Database) -> Database:
    await database["notes"].insert_many([{"_id": number} for number in range(NOTES)])
    return database


async def forward_until_killed() -> None:
    """What the process does that is killed."""
    endless = filling(readable_from=1, rests=asyncio.Event())
    async with AsyncExitStack() as stack:
        await Schema(await mongo.connect(CommonSettings(), stack), endless, lease_seconds=1).migrate()


async def test_killed_in_the_middle_another_goes_on(notes: Database) -> None:
    code = "import asyncio; from tests.integration import test_migrations as t; asyncio.run(t.forward_until_killed())"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=REPOSITORY)

    async def at_it() -> bool:
        return await _seen(notes) == 2 * STEP

    await eventually(at_it, timeout=60)
    child.send_signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL

    schema = Schema(notes, filling(readable_from=1), lease_seconds=1)
    state = await schema.state()
    assert (state.version, state.readable_by, state.history) == (0, 1, [])
    with pytest.raises(FailedPrecondition, match="newer release"):
        await Schema(notes, [], lease_seconds=1).check()  # half of it is there already
    assert [(one.migration.number, one.count) for one in await schema.migrate()] == [(1, NOTES - 2 * STEP)]
    assert await notes["notes"].count_documents({"times": 1}) == NOTES, "each once"
    assert (await schema.state()).version == 1
    await schema.move(0)
    assert await everything(notes) == {"notes": [bson.encode({"_id": number}) for number in range(NOTES)]}
    assert (await schema.state()).readable_by == 0


async def test_of_two_at_once_one_does_it(notes: Database) -> None:
    two = [Schema(notes, filling()), Schema(notes, filling())]
    changes = await asyncio.gather(*(schema.migrate() for schema in two))
    assert sorted(len(each) for each in changes) == [0, 1]
    assert await numbers(two[0]) == [("up", 1)]
    assert await notes["notes"].count_documents({"times": 1}) == NOTES


async def test_who_waits_in_vain_goes_on_without(notes: Database) -> None:
    rests = asyncio.Event()
    slow, hasty = Schema(notes, filling(rests=rests)), Schema(notes, filling(), lease_seconds=0.1)
    working = asyncio.create_task(slow.migrate())

    async def begun() -> bool:
        return await _seen(notes) == 2 * STEP

    await eventually(begun, timeout=60)
    assert await hasty.migrate() == []
    assert "up 1" in (await hasty.state()).doing
    rests.set()
    assert [one.count for one in await working] == [NOTES]


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def told(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    assert main(args) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_the_command_goes_back_and_forth(settings: CommonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    assert "schema 0; this release knows 3" in told(capsys, "status")
    assert "would change 10" in told(capsys, "up", "--dry-run")
    assert told(capsys, "up").endswith("schema 3\n")
    assert told(capsys, "up") == "schema 3\n"
    dry = told(capsys, "down", "--to", "1", "--dry-run")
    assert [line.split(" (")[0] for line in dry.splitlines()] == ["down 3", "down 2"]
    assert "would change 4" in dry
    assert "schema 3;" in told(capsys, "status")
    assert "schema 1, held there" in told(capsys, "down", "--to", "1")
    assert "held at 1" in told(capsys, "status")
    assert "earmark migrate down --to 0" in told(capsys, "up", "--to", "0", code=1)
    assert "0 to 3" in told(capsys, "up", "--to", "4", code=1)
    assert '"held_at": 1' in told(capsys, "status", "--json")


async def test_it_is_one_of_earmarks_commands(database: Database) -> None:
    await Schema(database).migrate()
    command = (sys.executable, "-m", "earmark", "migrate", "down", "--to", "2", "--dry-run")
    ran = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
    out, _ = await ran.communicate()
    assert (ran.returncode, out.decode().partition(" (")[0]) == (0, "down 3")
