"""What keeps others out of a gateway that takes no keys, and what pages of other sites may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from services.common.runner import serve
from services.common.settings import CommonSettings
from services.gateway.app import build
from services.gateway.settings import Settings
from tests.support.gateway import Gateway, gateway
from tests.support.keys import KEYS, bearer
from tests.support.ports import free_port

GATEWAY = {"max_upload_bytes": 400_000, "max_body_bytes": 2000}


async def test_pages_of_other_sites_change_nothing_without_a_key(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, cors_origins="https://ours.example") as mesh:
        files = {"file": ("a.mp4", b"x", "video/mp4")}
        for site in ("cross-site", "same-site"):
            headers = {"Sec-Fetch-Site": site, "Origin": "https://evil.example"}
            refused = await mesh.http.post("/videos/upload", files=files, headers=headers)
            assert refused.json()["error"]["details"][0]["reason"] == "ORIGIN_REFUSED"
            assert "access-control-allow-origin" not in refused.headers
        ours = {"Sec-Fetch-Site": "cross-site", "Origin": "https://ours.example"}
        taken = await mesh.http.post("/videos/upload", files=files, headers=ours)
        assert taken.status_code == 202
        assert taken.headers["access-control-allow-origin"] == "https://ours.example"
        same = await mesh.http.post("/videos/upload", files=files, headers={"Sec-Fetch-Site": "same-origin"})
        assert same.status_code == 200  # the same bytes
        # Without that header, as of old browsers and at addresses that none trusts, by where the page is.
        host = f"0.0.0.0:{mesh.http.base_url.port}"
        for origin, code in (("https://evil.example", 403), ("null", 403), (f"http://{host}", 200)):
            answer = await mesh.http.post("/videos/upload", files=files, headers={"Host": host, "Origin": origin})
            assert answer.status_code == code, (origin, answer.text)


async def test_a_query_of_very_many_fields_is_no_signature(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, **KEYS) as mesh:
        assert (await mesh.http.get(f"/videos?{'a=1&' * 120}signature=1")).status_code == 401


async def test_an_upload_whose_length_is_not_said_is_held_to_the_limit(mesh: Gateway) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    begun = await mesh.http.post("/v1/files", headers={**tus, "Upload-Defer-Length": "1"})
    body = {**tus, "Content-Type": "application/offset+octet-stream"}
    for _ in range(3):
        offset = (await mesh.http.head(begun.headers["location"], headers=tus)).headers["upload-offset"]
        answer = await mesh.http.patch(
            begun.headers["location"], content=b"x" * 390_000, headers={**body, "Upload-Offset": offset}
        )
    assert answer.status_code == 413
    held = (await mesh.http.head(begun.headers["location"], headers=tus)).headers["upload-offset"]
    assert int(held) <= 400_000


async def test_a_name_of_others_that_leads_here_is_not_answered(mesh: Gateway) -> None:
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"):
        answer = await mesh.http.get("/videos", headers={"Host": host})
        assert answer.json()["error"]["details"][0]["reason"] == "HOST_REFUSED", host
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "earmark.localhost", "gateway:8080"):
        assert (await mesh.http.get("/videos", headers={"Host": host})).status_code == 200, host


async def test_behind_a_proxy_every_name_is_answered(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, access="proxy") as mesh:
        assert (await mesh.http.get("/videos", headers={"Host": "videos.example"})).status_code == 200


async def test_pages_of_allowed_origins_may_ask_with_a_key(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, **KEYS, cors_origins=["https://ours.example"]) as mesh:
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        preflight = await mesh.http.options("/videos", headers={"Origin": "https://ours.example", **asked})
        assert preflight.status_code == 200
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        other = await mesh.http.options("/videos", headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in other.headers
        assert other.status_code == 403
        assert other.json()["error"]["details"][0]["reason"] == "ORIGIN_REFUSED"
        refused = await mesh.http.get("/videos", headers={"Origin": "https://ours.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://ours.example")


async def test_pages_of_allowed_origins_may_show_media(common_settings: CommonSettings) -> None:
    """A browser says of a plain `<video>` of theirs no origin that it could be allowed by."""
    for origins, policy in (("https://ours.example", "cross-origin"), ("", "same-origin")):
        async with gateway(common_settings, cors_origins=origins) as mesh:
            links = (await mesh.upload())["links"]
            for path, expected in ((links["media"], policy), (links["status"], "same-origin"), ("/", "same-origin")):
                answer = await mesh.http.get(path)
                assert answer.headers.get_list("cross-origin-resource-policy") == [expected], path


async def test_bodies_that_are_read_whole_are_bounded(mesh: Gateway) -> None:
    async def drops() -> AsyncIterator[bytes]:
        yield b'{"url": "'
        for _ in range(100):
            yield b"x" * 100

    for body in (b"x" * 3000, drops()):
        answer = await mesh.http.post("/videos", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["error"]["details"][0]["reason"] == "BODY_TOO_LARGE"
    assert (await mesh.upload(b"x" * 100_000))["source"]["bytes"] == 100_000


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (b"GET /videos HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 66_000, 431, "HEAD_TOO_LARGE"),
        (b"GET /videos?" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431, "HEAD_TOO_LARGE"),
        (b"GET /videos HTTP/1.1\r\nX-Long: " + b"x" * 66_000 + b"\r\nHost: localhost\r\n\r\n", 431, "HEAD_TOO_LARGE"),
        (b"GET /videos HTTP/1.1\r\n" + b"X-Many: x\r\n" * 6000 + b"\r\n", 431, "HEAD_TOO_LARGE"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "NOT_HTTP"),
        (b"GET /videos HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "NOT_HTTP"),
    ],
)
async def test_what_cannot_be_read_is_refused_in_the_shape_of_all_errors(
    mesh: Gateway, sent: bytes, code: int, reason: str
) -> None:
    assert (await mesh.http.get("/videos", headers={"X-Long": "x" * 60_000})).status_code == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.settings.http_port)
    writer.write(sent)
    head, _, body = (await asyncio.wait_for(reader.read(), 30)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % code)
    assert b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n"
    error = orjson.loads(body)["error"]
    assert (error["code"], error["details"][0]["reason"]) == (code, reason)
    writer.close()


async def test_without_a_key_to_begin_with_a_gateway_does_not_start(common_settings: CommonSettings) -> None:
    given = {**common_settings.model_dump(), "http_port": free_port(), "access": "keys"}
    assert await serve("gateway", Settings(**given), build) == 1


async def test_a_key_made_on_loopback_opens_a_gateway_that_takes_keys(common_settings: CommonSettings) -> None:
    async with gateway(common_settings) as mesh:
        made = (await mesh.http.post("/keys", json={"name": "first", "scopes": ["admin"]})).json()
    async with gateway(common_settings, access="keys") as mesh:
        assert (await mesh.http.get("/videos")).status_code == 401
        assert (await mesh.http.get("/shards", headers=bearer(made["key"]))).status_code == 200


async def test_every_answer_has_the_headers_that_bound_a_browser(common_settings: CommonSettings) -> None:
    async with gateway(common_settings, **KEYS) as mesh:
        for path in ("/videos", "/", "/docs", "/nowhere"):
            headers = (await mesh.http.get(path)).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "same-origin", path
