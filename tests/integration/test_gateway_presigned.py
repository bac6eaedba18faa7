"""Uploads straight to S3, by signed URLs; moto's server stands for S3."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from services.common.objects import media_key
from services.common.settings import CommonSettings
from tests.support import s3
from tests.support.gateway import Gateway, gateway
from tests.support.mesh import common_settings

PART = 8 * 2**20
DATA = os.urandom(PART + 1234)


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3.s3_server() as url:
        yield url


@pytest.fixture(scope="module")
async def lasting_gateway(s3_endpoint: str, lasting_settings: CommonSettings) -> AsyncIterator[Gateway]:
    url = f"s3://{s3.make_bucket(s3_endpoint, 'presigned')}/media"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment(s3_endpoint).items():
            patch.setenv(name, value)
        async with gateway(lasting_settings.model_copy(update={"object_store_url": url})) as running:
            yield running


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["details"][0]["reason"]


async def begin(mesh: Gateway, **told: Any) -> dict[str, Any]:
    answer = await mesh.http.post("/v1/uploads", json={"filename": "talk.mp4", "bytes": len(DATA), **told})
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/uploads/{upload['upload_id']}"
    return upload


async def put(mesh: Gateway, upload: dict[str, Any], *numbers: int, data: bytes = DATA) -> None:
    path = f"/v1/uploads/{upload['upload_id']}/parts"
    signed = (await mesh.http.post(path, json={"parts": list(numbers)})).json()
    async with httpx.AsyncClient() as outside:
        for part in signed["parts"]:
            at = (part["number"] - 1) * upload["part_bytes"]
            answer = await outside.put(part["url"], content=data[at : at + part["bytes"]])
            assert answer.status_code == 200, answer.text


async def test_parts_go_past_the_gateway_and_become_a_video(mesh: Gateway) -> None:
    upload = await begin(mesh, title="A talk", tags=["bread"], sha256=hashlib.sha256(DATA).hexdigest())
    assert (upload["parts_total"], upload["part_bytes"], upload["parts"]) == (2, PART, [])
    path = f"/v1/uploads/{upload['upload_id']}"
    await put(mesh, upload, 1)
    assert (await mesh.http.get(path)).json()["parts"] == [{"number": 1, "bytes": PART}]
    early = await mesh.http.post(f"{path}/complete")
    assert reason_of(early) == (409, "PARTS_MISSING")
    assert early.json()["error"]["details"][0]["metadata"] == {"parts": "2"}
    await put(mesh, upload, 2)
    done = await mesh.http.post(f"{path}/complete")
    assert done.status_code == 202, done.text
    video = done.json()
    assert (video["title"], video["tags"], video["source"]["bytes"]) == ("A talk", ["bread"], len(DATA))
    assert video["source"]["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert await mesh.backbone.objects.get(media_key(video["video_id"])) == DATA
    # The answer may have been lost: asked again, it is the same.
    again = await mesh.http.post(f"{path}/complete")
    assert (again.status_code, again.json()["video_id"]) == (202, video["video_id"])
    assert (await mesh.http.get(path)).json()["video_id"] == video["video_id"]

    known = await begin(mesh)
    await put(mesh, known, 1, 2)
    existing = await mesh.http.post(f"/v1/uploads/{known['upload_id']}/complete")
    assert (existing.status_code, existing.json()["video_id"]) == (200, video["video_id"])
    assert existing.headers["earmark-existing"] == "true"
    assert await mesh.backbone.objects.list("videos/") == [media_key(video["video_id"])]


async def test_what_is_not_what_was_sent_is_no_video(mesh: Gateway) -> None:
    upload = await begin(mesh, sha256=hashlib.sha256(DATA).hexdigest())
    await put(mesh, upload, 1, 2, data=DATA[::-1])
    path = f"/v1/uploads/{upload['upload_id']}"
    assert reason_of(await mesh.http.post(f"{path}/complete")) == (422, "CHECKSUM_MISMATCH")
    assert reason_of(await mesh.http.get(path)) == (410, "UPLOAD_OVER")
    assert await mesh.backbone.objects.list("") == []


async def test_an_upload_can_be_given_up(mesh: Gateway) -> None:
    upload = await begin(mesh)
    await put(mesh, upload, 2)
    path = f"/v1/uploads/{upload['upload_id']}"
    assert reason_of(await mesh.http.post(f"{path}/parts", json={"parts": [3]})) == (400, "INVALID_ARGUMENT")
    assert (await mesh.http.delete(path)).status_code == 204
    assert reason_of(await mesh.http.get(path)) == (404, "UPLOAD_NOT_FOUND")
    assert reason_of(await mesh.http.post(f"{path}/complete")) == (404, "UPLOAD_NOT_FOUND")


async def test_a_folder_says_that_it_is_none(
    nats_url: str, mongo_url: str, mongo_database: str, object_store_url: str
) -> None:
    common = common_settings(nats_url, mongo_url, mongo_database, object_store_url)
    async with gateway(common) as mesh:
        answer = await mesh.http.post("/v1/uploads", json={"bytes": 9})
        assert reason_of(answer) == (409, "NO_BUCKET")
        assert "/v1/files" in answer.json()["error"]["message"]
