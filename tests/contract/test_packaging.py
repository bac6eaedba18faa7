"""What the package metadata promises: every requirement pinned, a light gateway, a marker for every layer."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"av", "ctranslate2", "faiss", "faster_whisper", "onnxruntime", "sentence_transformers", "tantivy", "torch"}


def test_every_requirement_is_pinned_at_a_version_it_admits() -> None:
    ran = subprocess.run(
        [sys.executable, "tools/lock.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("services.gateway.app", HEAVY | {"kubernetes"}),
        ("services.transcriber.app", {"torch", "faiss", "sentence_transformers", "ctranslate2"}),
        ("services.embedder.app", {"faiss", "ctranslate2", "av", "torch"}),
        ("services.indexer.app", {"torch", "ctranslate2", "av", "sentence_transformers"}),
        ("earmark.client", HEAVY | {"nats", "pymongo", "grpc"}),
        ("earmark.cli", HEAVY | {"kubernetes", "nats", "pymongo"}),
    ],
)
def test_importing_loads_nothing_heavy(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({forbidden!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("earmark/client", []),
        ("earmark/cli", []),
        ("earmark/k8s", ["k8s"]),
        ("earmark/v1", []),
        ("earmark/local", ["service", "local"]),
        ("services/common", ["service"]),
        ("services/transcriber", ["service", "transcriber"]),
        ("services/embedder", ["service", "embedder"]),
        ("services/indexer", ["service", "indexer"]),
        ("services/gateway", ["service", "gateway", "redis"]),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    undeclared = {
        name
        for path in (ROOT / folder).rglob("*.py")
        for name in third_party_names(path)
        if not declared & {canonicalize_name(owner) for owner in owners().get(name, [])}
    }
    assert not undeclared, f"{folder} uses {undeclared}, which no extra of it in pyproject.toml names"


@cache
def owners() -> Mapping[str, list[str]]:
    """Which distributions a top-level package is of; it takes a second to read what all of them hold."""
    return importlib.metadata.packages_distributions()


def third_party_names(path: Path) -> set[str]:
    """Top-level packages a module imports or takes files from, wherever in its code, less ours and Python's own."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module)
            case ast.Call(func=ast.Attribute(attr="files" | "import_module"), args=[ast.Constant(value=str(module))]):
                names.add(module)
    return {name.partition(".")[0] for name in names} - {"earmark", "services"} - sys.stdlib_module_names


def test_the_lock_names_no_machine() -> None:
    for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line), line


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert len(makefile.splitlines()) <= 150
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    ran = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  (?:\x1b\[36m)?([a-z0-9-]+)", ran.stdout, re.MULTILINE))
    assert listed == targets


def test_every_package_has_a_place_in_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"earmark", "services"} == set(wheel["packages"])
    assert (ROOT / "earmark" / "py.typed").is_file()
