"""The list of migrations: numbers in order, none forgotten."""

import importlib
import pkgutil
from dataclasses import replace

import pytest

from services.common import migrations
from services.common.migrations.known import MIGRATIONS
from services.common.migrations.migration import in_order

FIRST, SECOND, THIRD = MIGRATIONS[:3]


def test_every_migration_is_known_by_the_number_in_its_name() -> None:
    names = sorted(each.name for each in pkgutil.iter_modules(migrations.__path__) if each.name.startswith("m0"))
    modules = [importlib.import_module(f"services.common.migrations.{name}") for name in names]
    assert [module.MIGRATION for module in modules] == list(MIGRATIONS)
    assert [int(name[1:5]) for name in names] == [one.number for one in MIGRATIONS]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([FIRST, THIRD], id="a gap"),
        pytest.param([FIRST, replace(SECOND, number=1)], id="a number twice"),
        pytest.param([SECOND, FIRST], id="another order"),
        pytest.param([THIRD], id="not from 1"),
        pytest.param([replace(FIRST, readable_from=2)], id="readable by none that knows it"),
    ],
)
def test_what_is_out_of_order_is_refused(wrong: list[migrations.migration.Migration]) -> None:
    with pytest.raises(ValueError, match="migration"):
        in_order(wrong)


def test_what_this_release_adds_any_release_reads() -> None:
    # Rolling updates begin at once, with no word from an operator: what raises this is a change of that promise.
    assert {one.readable_from for one in MIGRATIONS} == {0}
