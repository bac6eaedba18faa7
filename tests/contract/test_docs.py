"""What the guides name, there is: files, settings, commands with their options, make targets, metrics."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from earmark.cli.app import app
from tests.support.manifests import SERVICES
from tests.support.service_settings import settings_class, variables

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = (ROOT, ROOT / "services", ROOT / "deploy" / "k8s", ROOT / "deploy", ROOT / "docs")
"""Where a path that is named may begin."""
TREES = (
    "bench",
    "deploy",
    "docs",
    "earmark",
    "examples",
    "protos",
    "requirements",
    "samples",
    "services",
    "tests",
    "tools",
)

each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)


def blocks(text: str) -> Iterator[str]:
    """What stands in code: blocks, and words between backticks."""
    yield from re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@functools.cache
def words_of_sources() -> frozenset[str]:
    """Every word of our code."""
    folders = ("earmark", "services", "bench", "tools", "tests")
    files = [path for name in folders for path in (ROOT / name).rglob("*.py") if path != Path(__file__)]
    files += [ROOT / "Makefile", ROOT / "deploy" / "docker" / "Dockerfile"]
    return frozenset(word for path in files for word in re.findall(r"\w+", path.read_text()))


@functools.cache
def settings_of_all() -> frozenset[str]:
    return frozenset().union(*(variables(settings_class(f"services.{name}")) for name in SERVICES.values()))


@each_guide
def test_links_lead_somewhere(guide: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", guide.read_text())
    missing = [one for one in targets if "://" not in one and not (guide.parent / one).exists()]
    assert missing == []


@each_guide
def test_files_that_are_named_exist(guide: Path) -> None:
    named = {
        word.rstrip(".,:;)")
        for block in blocks(guide.read_text())
        for word in re.findall(r"(?<![\w/.$<-])[\w.-]+/[\w./*{},<>-]*", block)
        if word.partition("/")[0] in {*TREES, "base", "components", "overlays"} and not re.search(r"[<>{}*]", word)
    }
    missing = [word for word in sorted(named) if not any((place / word).exists() for place in PLACES)]
    assert missing == []


@each_guide
def test_settings_that_are_named_exist(guide: Path) -> None:
    named = set(re.findall(r"\bEARMARK_[A-Z0-9_]*[A-Z0-9]\b(?!_)", guide.read_text()))
    # The rest is of the command, of tests, or no setting: streams are called so too.
    missing = [name for name in sorted(named - settings_of_all()) if name not in words_of_sources()]
    assert missing == []


@each_guide
def test_numbers_that_are_named_are_measured(guide: Path) -> None:
    named = set(re.findall(r"`(earmark_\w+)`", guide.read_text()))
    secrets = {name for name in named if name.upper() in settings_of_all()}
    missing = [name for name in sorted(named - secrets) if not {name, name.removesuffix("_total")} & words_of_sources()]
    assert missing == []


@each_guide
def test_make_targets_that_are_named_exist(guide: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for block in blocks(guide.read_text())
        for name in re.findall(r"(?:^|\n|&& |\$ )make\s+([a-z0-9-]+)", block)
    }
    assert named - targets == set()


def named_commands(text: str) -> Iterator[list[str]]:
    """Lines of `earmark …` by their words."""
    for block in blocks(text):
        for line in re.findall(r"(?:^|\n|[$|] )(?:\.venv/bin/)?earmark ([a-z][^\n#&]*)", block.replace("\\\n", " ")):
            yield line.split()


def missing_of(command: Any, words: list[str]) -> str | None:
    """What of a line there is not: a command, or an option of one."""
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    while words and hasattr(command, "commands") and re.fullmatch(r"[a-z][a-z0-9-]*", words[0]):
        word = words.pop(0)
        if word not in command.commands:
            return word
        command = command.commands[word]
        options |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {re.split(r"[=\]…]", word.lstrip("["))[0] for word in words if word.lstrip("[").startswith("-")}
    unknown = sorted(one for one in given if one not in options | {"--help", "-"})
    return unknown[0] if unknown else None


@each_guide
def test_commands_and_options_that_are_named_exist(guide: Path) -> None:
    root = typer.main.get_command(app)
    found = {" ".join(words): missing_of(root, list(words)) for words in named_commands(guide.read_text())}
    assert {line: lacking for line, lacking in found.items() if lacking} == {}


def test_a_word_that_leads_nowhere_is_seen() -> None:
    root = typer.main.get_command(app)
    assert missing_of(root, ["shards", "scale", "3"]) is None
    assert missing_of(root, ["shards", "shrink"]) == "shrink"
    assert missing_of(root, ["plan", "--hours", "5", "--colour"]) == "--colour"
    assert list(named_commands("Ask `earmark doctor`, or\n```\n$ earmark plan --qps 5  # much\n```\n")) == [
        ["plan", "--qps", "5"],
        ["doctor"],
    ]
