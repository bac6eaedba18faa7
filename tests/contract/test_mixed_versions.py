"""What this tree writes, the release reads, and the other way round: every message, with every field it has."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import symbol_database
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from services.common.events import topology
from tests.support import released

ROOT = Path(__file__).resolve().parents[2]
SCALARS: dict[int, Callable[[int], Any]] = {
    FieldDescriptor.CPPTYPE_INT32: lambda number: number,
    FieldDescriptor.CPPTYPE_INT64: lambda number: number,
    FieldDescriptor.CPPTYPE_UINT32: lambda number: number,
    FieldDescriptor.CPPTYPE_UINT64: lambda number: number,
    FieldDescriptor.CPPTYPE_DOUBLE: lambda number: number / 2,
    FieldDescriptor.CPPTYPE_FLOAT: lambda number: number / 2,
    FieldDescriptor.CPPTYPE_BOOL: lambda _: True,
    FieldDescriptor.CPPTYPE_STRING: lambda number: f"text {number}",
}
DEPTH = 4


def filled(kind: Callable[[], Message], depth: int = DEPTH) -> Message:
    """A message in which every field has a value; of a `oneof`, the last one."""
    made = kind()
    for field in made.DESCRIPTOR.fields:
        if depth or field.message_type is None:
            fill(made, field, depth)
    return made


def fill(made: Message, field: FieldDescriptor, depth: int) -> None:
    repeated = field.is_repeated
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(made, field.name)["key"] = "value"
    elif field.message_type is not None:
        part = getattr(made, field.name)
        of = type(part.add()) if repeated else type(part)
        inner = filled(of, depth - 1)
        if repeated:
            part[0].CopyFrom(inner)
        else:
            part.SetInParent()
            part.CopyFrom(inner)
    else:
        value = value_of(field)
        if repeated:
            getattr(made, field.name).append(value)
        else:
            setattr(made, field.name, value)


def value_of(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"bytes"
    return SCALARS[field.cpp_type](field.number)


def current(full_name: str) -> type[Message]:
    """The class of this tree. Raises KeyError."""
    for path in sorted((ROOT / "earmark").glob("*v1/**/*_pb2.py")) + sorted((ROOT / "earmark").glob("*/v1/*_pb2.py")):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return symbol_database.Default().GetSymbol(full_name)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", sorted(released.messages()))
def test_what_the_release_wrote_is_read_and_kept(name: str) -> None:
    written = filled(released.message(name))
    read = current(name).FromString(written.SerializeToString())
    assert MessageToDict(read) == MessageToDict(written)
    read.DiscardUnknownFields()  # nothing may have become unknown
    assert read.SerializeToString(deterministic=True) == written.SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", sorted(released.messages()))
def test_what_this_tree_writes_is_read_by_the_release(name: str) -> None:
    written = filled(current(name))
    read = released.message(name).FromString(written.SerializeToString())
    said = MessageToDict(written)
    for field, value in MessageToDict(read).items():
        assert field in said
        if not isinstance(value, dict | list):
            assert said[field] == value
    # What the release does not know it hands on as it came.
    assert current(name).FromString(read.SerializeToString()) == written


def test_events_of_the_release_are_all_known() -> None:
    kinds = {kind.DESCRIPTOR.full_name for kind in topology.MESSAGES.values()}
    of_release = {name for name in released.messages() if name.startswith("earmark.events.v1.")}
    assert len(of_release & kinds) >= 6
    assert of_release - kinds == {"earmark.events.v1.DeadLetter"}
