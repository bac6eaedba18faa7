"""The API's description says of each route whether it takes a key, and which."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.gateway.access.gate import OpenGate
from services.gateway.http import api
from services.gateway.http.access import is_public


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    parts = (
        "library",
        "pictures",
        "operations",
        "uploads",
        "resumable",
        "presigned",
        "imports",
        "edits",
        "watcher",
        "time_left",
        "searcher",
        "shards",
        "keys",
    )
    nothing: dict[str, Any] = dict.fromkeys(parts, cast(Any, None))  # routes are described, none is asked
    app = api.create(
        **nothing,
        gate=OpenGate(),
        local=True,
        cors_origins=[],
        max_body_bytes=1,
        query_max_chars=1,
        checks=dict,
        stopping=bool,
    )
    return app.openapi()


def test_every_route_says_what_it_takes(described: dict[str, Any]) -> None:
    schemes = described["components"]["securitySchemes"]
    assert (schemes["key"]["scheme"], schemes["signedUrl"]["in"]) == ("bearer", "query")
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            taken = [name for choice in operation["security"] for name in choice]
            signed = method == "get" and path.endswith(("/media", "/transcript", "/events"))
            expected = [] if is_public(path) else ["key", "signedUrl"] if signed else ["key"]
            assert taken == expected, (method, path)
            assert is_public(path) or "akes a" in operation["description"], (method, path)


def test_the_text_of_a_key_is_in_one_answer_only(described: dict[str, Any]) -> None:
    shapes = described["components"]["schemas"]
    assert [name for name, shape in shapes.items() if "key" in shape.get("properties", {})] == ["CreatedKey"]
    assert all("digest" not in shapes[name]["properties"] for name in ("Key", "CreatedKey", "KeyList", "Self"))
