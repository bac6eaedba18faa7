"""The page keeps to its Content-Security-Policy: nothing inline, nothing from elsewhere, no markup out of text."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "services" / "gateway" / "web"
SCRIPTS = sorted((WEB / "js").glob("*.js"))
IDS = [script.name for script in SCRIPTS]


class Page(HTMLParser):
    """What index.html contains."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self._inside = ""
        self.feed((WEB / "index.html").read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.inline += data.strip()


def local(address: str) -> Path:
    assert address.startswith("/web/"), f"{address} is not one of the page's own files"
    return WEB / address.removeprefix("/web/")


def test_nothing_is_inline() -> None:
    page = Page()
    assert page.inline == ""
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag


def test_every_file_named_is_there_and_ours() -> None:
    named = [
        attributes.get("src") or attributes["href"]
        for tag, attributes in Page().elements
        if tag in {"link", "script", "img"}
    ]
    assert len(named) > len(SCRIPTS)
    for address in named:
        assert local(address).is_file(), address


def test_every_module_is_fetched_at_once() -> None:
    named = {attributes.get("src") or attributes.get("href") for _, attributes in Page().elements}
    assert {f"/web/js/{name}" for name in IDS} <= named


def test_ids_are_unique_and_those_the_scripts_look_for_exist() -> None:
    ids = [attributes["id"] for _, attributes in Page().elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {found for script in SCRIPTS for found in re.findall(r'byId\("([^"]+)"\)', script.read_text())}
    assert wanted <= set(ids)


@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_scripts_make_no_markup_out_of_text(script: Path) -> None:
    source = script.read_text()
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\"style\""
    assert re.findall(forbidden, source) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", source) == []


def test_style_sheets_fetch_nothing_and_each_is_used() -> None:
    sheets = sorted((WEB / "css").glob("*.css"))
    assert {f"/web/css/{sheet.name}" for sheet in sheets} == {
        attributes["href"] for _, attributes in Page().elements if attributes.get("rel") == "stylesheet"
    }
    for sheet in sheets:
        assert re.findall(r"@import|url\(", sheet.read_text()) == [], sheet.name


def test_what_others_wrote_is_what_they_published_with_its_licence() -> None:
    vendor = WEB / "vendor"
    packages = json.loads((vendor / "vendored.json").read_text())
    named = {
        f"{name}/{file}": told["sha256"]
        for name, package in packages.items()
        for file, told in package["files"].items()
    }
    there = {str(path.relative_to(vendor)) for path in vendor.rglob("*") if path.is_file()} - {"vendored.json"}
    assert there == set(named)
    for file, digest in named.items():
        assert hashlib.sha256((vendor / file).read_bytes()).hexdigest() == digest, f"{file}: run tools/vendor_web.py"
    licences = (ROOT / "docs" / "licences.md").read_text()
    for name, package in packages.items():
        assert f"{name}/LICENSE" in there
        assert f"{name} {package['version']}" in licences


def test_modules_name_only_files_that_are_there() -> None:
    for script in SCRIPTS:
        for name in re.findall(r'from "\./([^"]+)"', script.read_text()):
            assert (WEB / "js" / name).is_file(), f"{script.name}: {name}"
        for address in re.findall(r'"(/web/[^"]+)"', script.read_text()):
            assert local(address).is_file(), f"{script.name}: {address}"
