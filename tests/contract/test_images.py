"""The Dockerfile: a target for each service, nothing it should not hold, and what others made pinned by digest."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.service_settings import settings_class, variables
from tools import image_digests, install_check, sbom

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
SERVICES = ("gateway", "transcriber", "embedder", "indexer")
TARGETS = (*SERVICES, "transcriber-gpu", "embedder-gpu", "indexer-gpu")


def stages() -> dict[str, tuple[str, str]]:
    """Of each stage what it is made from and its text."""
    found = re.findall(r"^FROM (\S+) AS (\S+)$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return {name: (source, text) for source, name, text in found}


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_runs_its_service_as_nobody_special(target: str) -> None:
    service = target.removesuffix("-gpu")
    source, text = stages()[target]
    assert source == ("runtime-${MODELS}" if service in {"transcriber", "embedder"} else "runtime")
    assert f'ENTRYPOINT ["python", "-m", "services.{service}"]' in text
    assert "USER" not in text
    assert f"COPY --from=build-{target} /venv /venv" in text
    assert re.search(rf'"\.\[{service}(,\w+)*\]"', stages()[f"build-{target}"][1])
    assert "sbom.py /venv/sbom.cdx.json" in stages()[f"build-{target}"][1]
    given = set(re.findall(r"\b(EARMARK_[A-Z_]+)=", text))
    assert given - variables(settings_class(f"services.{service}")) == set()
    # What a variant adds is said in the same words as its service's.
    assert set(re.findall(r"^EXPOSE .*$", text, re.MULTILINE)) == set(
        re.findall(r"^EXPOSE .*$", stages()[service][1], re.MULTILINE)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_measured_is_what_is_built_and_the_budget_is_written_down(service: str) -> None:
    install = install_check.INSTALLS[service]
    extras = ",".join((service, *install.beside))
    assert f'".[{extras}]"' in stages()[f"build-{service}"][1]
    guide = (ROOT / "docs" / "operations.md").read_text()
    row = re.search(rf"^\| {service} \| (\d+) \| (\d+) \|", guide, re.MULTILINE)
    assert row is not None
    assert int(row[1]) < int(row[2]) == install.budget_mib


def test_what_runs_is_not_root_and_says_what_it_is() -> None:
    source, text = stages()["runtime"]
    assert source == "base"
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "org.opencontainers.image.licenses" in text
    for name in ("runtime-volume", "runtime-baked"):
        assert stages()[name][0] == "runtime"
        assert "USER" not in stages()[name][1]


def test_every_image_of_others_is_pinned_by_digest() -> None:
    outside = {source for source, _ in stages().values()} - set(stages()) - {"runtime-${MODELS}"}
    assert outside == {"${PYTHON_IMAGE}"}
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11[\w.-]*@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert "syntax=" not in DOCKERFILE, "an image too, which runs every build"
    assert set(re.findall(r"--from=(\S+)", DOCKERFILE)) <= set(stages())
    assert image_digests.unpinned(path.read_text() for path in image_digests.files()) == []
    tags = {match["tag"] for path in image_digests.files() for match in image_digests.IMAGE.finditer(path.read_text())}
    assert {tag.partition(":")[0] for tag in tags} == {"python", "nats", "mongo", "redis"}


def test_an_image_by_tag_alone_is_found() -> None:
    by_digest = f"          image: mongo:8.0@sha256:{'a' * 64}\n"
    by_tag = "ARG PYTHON_IMAGE=python:3.11\n          image: nats:2.12-alpine\n          image: earmark-gateway:0.1.0\n"
    assert image_digests.unpinned([by_digest, by_tag]) == ["nats:2.12-alpine", "python:3.11"]


def test_a_digest_goes_behind_its_tag_and_takes_the_place_of_one_before() -> None:
    digests = {"nats:2.12-alpine": f"sha256:{'a' * 64}"}
    text = "          image: nats:2.12-alpine\n          image: earmark-gateway:0.1.0\n"
    once = image_digests.pinned(text, digests)
    assert once == f"          image: nats:2.12-alpine@sha256:{'a' * 64}\n          image: earmark-gateway:0.1.0\n"
    again = image_digests.pinned(once, {"nats:2.12-alpine": f"sha256:{'b' * 64}"})
    assert again == once.replace("a" * 64, "b" * 64)


def test_the_bill_of_materials_names_what_is_installed() -> None:
    bill = sbom.bill()
    components = {one["name"]: one for one in bill["components"]}
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert components["grpcio"]["purl"].startswith("pkg:pypi/grpcio@")
    assert sys.version_info >= (3, 11)
    assert sum("licenses" in one for one in components.values()) > len(components) * 0.7
