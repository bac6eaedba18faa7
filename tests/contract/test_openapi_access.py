"""The API's description says of each route whether it takes a key, and which."""

from __future__ import annotations

from typing import Any

import pytest

from services.gateway.http.access import is_public
from tests.support.openapi import described


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return described()


def test_every_route_says_what_it_takes(description: dict[str, Any]) -> None:
    schemes = description["components"]["securitySchemes"]
    assert (schemes["key"]["scheme"], schemes["signedUrl"]["in"]) == ("bearer", "query")
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            taken = [name for choice in operation["security"] for name in choice]
            signed = method == "get" and path.endswith(("/media", "/transcript", "/events"))
            expected = [] if is_public(path) else ["key", "signedUrl"] if signed else ["key"]
            assert taken == expected, (method, path)
            assert is_public(path) or "akes a" in operation["description"], (method, path)


def test_the_text_of_a_key_is_in_one_answer_only(description: dict[str, Any]) -> None:
    shapes = description["components"]["schemas"]
    assert [name for name, shape in shapes.items() if "key" in shape.get("properties", {})] == ["CreatedKey"]
    assert all("digest" not in shapes[name]["properties"] for name in ("Key", "CreatedKey", "KeyList", "Self"))
