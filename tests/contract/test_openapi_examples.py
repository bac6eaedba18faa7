"""Every body, and every answer in JSON, in the API's description has an example that is as it says."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pytest

from services.gateway.http.openapi import EXAMPLES
from tests.support.openapi import described

DOCUMENT = described()
JSON = "application/json"


def bodies() -> list[Any]:
    """Every body, and every answer in JSON."""
    found = []
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            found += [
                pytest.param(content, id=f"{name} {kind}")
                for kind, content in operation.get("requestBody", {}).get("content", {}).items()
            ]
            found += [
                pytest.param(answer["content"][JSON], id=f"{name} {code}")
                for code, answer in operation["responses"].items()
                if JSON in answer.get("content", {})
            ]
    return found


def closed(schema: Any) -> Any:
    """A schema that takes no fields but those it names, so that what is answered and not described is found."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: closed(one) for name, one in schema.items()}
    if "properties" in copy:
        copy.setdefault("additionalProperties", False)
    return copy


@pytest.mark.parametrize("content", bodies())
def test_it_has_an_example_that_is_as_described(content: dict[str, Any]) -> None:
    shape = content.get("schema", {})
    if "$ref" in shape:
        shape = DOCUMENT["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    examples = [content["example"]] if "example" in content else shape.get("examples", [])
    assert examples
    schema = closed({**shape, "components": DOCUMENT["components"]})
    for example in examples:
        jsonschema.validate(example, schema, jsonschema.Draft202012Validator)


def test_no_example_is_of_a_route_that_is_not_there() -> None:
    there = {f"{method.upper()} {path}" for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert set(orjson.loads(EXAMPLES.read_bytes())) <= there
