"""What holds of every path of the HTTP API: how it is named, asked by which method, and what it refuses."""

import pytest

from tests.support.gateway import Gateway, error_of


async def test_an_unknown_parameter_is_told_with_the_one_that_is_meant(mesh: Gateway) -> None:
    for wrong, meant in (
        ("collections", "collection"),
        ("Tag", "tag"),
        ("videoid", "video_id"),
        ("max-duration", "max_duration"),
    ):
        told = (await mesh.http.get("/search", params={"q": "x", wrong: "1"})).json()["error"]["message"]
        assert told == f"there is no parameter {wrong!r}; do you mean {meant}?"
    told = (await mesh.http.get("/search?q=x&%FF=1")).json()["error"]["message"]
    assert "there are q, limit, cursor, " in told
    video = (await mesh.upload())["video_id"]
    for method, path, said in (
        ("GET", "/videos?limits=1", "there is no parameter 'limits'; do you mean limit?"),
        ("GET", f"/videos/{video}?full=1", "there is no parameter 'full'; there are key, expires, signature"),
        ("DELETE", f"/videos/{video}?force=true", "there is no parameter 'force'; there are now"),
        ("POST", f"/videos/{video}/retry?x=1", "there is no parameter 'x'; there are none here"),
    ):
        answer = await mesh.http.request(method, path)
        assert error_of(answer, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")["message"] == said
    assert (await mesh.http.get(f"/videos/{video}")).json()["status"] == "uploaded"


async def test_a_body_of_another_type_is_told_apart_from_a_wrong_one(mesh: Gateway) -> None:
    body = b'{"url": "https://1.1.1.1/a.mp4"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await mesh.http.post("/videos", content=body, headers={"Content-Type": kind})
        assert "application/json" in error_of(answer, 415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE")["message"]
    for wrong in (b"", b"[]", b"{"):
        answer = await mesh.http.post("/videos", content=wrong, headers={"Content-Type": "application/json"})
        error_of(answer, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"url": "https://1.1.1.1/a.mp4", "titel": "A"}', "titel: there is no such field; do you mean title?"),
        (b'{"title": "A"}', "url: is missing"),
        (b'{"url": 7}', "url: must be a text"),
        (b'{"url": "https://1.1.1.1/a.mp4", "tags": "a"}', "tags: must be a list"),
        (b'{"url": "\xff"}', "the body cannot be read as JSON in UTF-8"),
    ],
)
async def test_what_is_wrong_with_a_body_is_told_in_our_words(mesh: Gateway, body: bytes, said: str) -> None:
    answer = await mesh.http.post("/videos", content=body, headers={"Content-Type": "application/json"})
    assert error_of(answer, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")["message"] == said


async def test_whatever_answers_get_answers_head(mesh: Gateway) -> None:
    video = (await mesh.upload())["video_id"]
    paths = ("/v1/videos", f"/videos/{video}", f"/v1/videos/{video}/status", "/search?q=x", "/openapi.json", "/healthz")
    for path in (*paths, "/keys/self", f"/videos/{video}/media", "/", "/docs/start.js"):
        head, whole = await mesh.http.head(path), await mesh.http.get(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == whole.headers["content-type"], path
    assert (await mesh.http.head("/videos/none")).status_code == 404
    for path in (f"/videos/{video}/events", "/shards/plan"):
        refused = await mesh.http.head(path)
        assert refused.status_code == 405
        assert "HEAD" not in refused.headers["allow"]
    route = 'method="HEAD",route="/videos/{video_id}"'
    assert route in (await mesh.http.get("/metrics")).text


async def test_unknown_routes_and_methods_have_the_same_shape(mesh: Gateway) -> None:
    error_of(await mesh.http.get("/nothing/here"), 404, "NOT_FOUND", "ROUTE_NOT_FOUND")
    error_of(await mesh.http.get("/web/none.js"), 404, "NOT_FOUND", "ROUTE_NOT_FOUND")
    error_of(await mesh.http.get("/web/../app.py"), 404, "NOT_FOUND", "ROUTE_NOT_FOUND")
    put = await mesh.http.put("/videos")
    error_of(put, 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED")
    assert put.headers["allow"] == "GET, HEAD, POST"
    for path in ("/v1", "/v1/", "/v1/v1/videos", "/v1/healthz", "/v2/videos"):
        error_of(await mesh.http.get(path), 404, "NOT_FOUND", "ROUTE_NOT_FOUND")
    assert (await mesh.http.put("/v1/videos")).headers["allow"] == put.headers["allow"]


async def test_a_path_is_answered_with_its_version_and_as_it_was_called_first(mesh: Gateway) -> None:
    video = await mesh.upload()
    path = f"/videos/{video['video_id']}"
    plain, versioned = await mesh.http.get(path), await mesh.http.get(f"/v1{path}")
    assert plain.json() == versioned.json() == video
    assert {link for link in video["links"].values() if not link.startswith(("/v1/videos/", "/v/"))} == set()
    assert (await mesh.http.post("/v1/videos", json={"url": 3})).json() == (
        await mesh.http.post("/videos", json={"url": 3})
    ).json()
