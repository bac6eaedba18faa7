"""Fetches the libraries that the page ships in `services/gateway/web/vendor`, at the versions `vendored.json` names.

With `--check` it only says whether the files there are those of the packages. No node is needed: npm's registry gives
plain archives, and each is compared with the digest noted here before anything of it is used.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx

VENDOR = Path(__file__).resolve().parent.parent / "services" / "gateway" / "web" / "vendor"
REGISTRY = "https://registry.npmjs.org"


def files_of(name: str, package: dict[str, Any]) -> dict[str, bytes]:
    """Fetches a package and gives the files of it that are wanted, by the names they get here."""
    stem = name.rpartition("/")[2]
    answer = httpx.get(f"{REGISTRY}/{name}/-/{stem}-{package['version']}.tgz", follow_redirects=True, timeout=60)
    answer.raise_for_status()
    digest = "sha512-" + base64.b64encode(hashlib.sha512(answer.content).digest()).decode()
    if digest != package["integrity"]:
        raise SystemExit(f"{name} {package['version']} is not the archive that vendored.json names: {digest}")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        members = {target: archive.extractfile(f"package/{file['from']}") for target, file in package["files"].items()}
        return {target: member.read() for target, member in members.items() if member is not None}


def main() -> None:
    packages: dict[str, dict[str, Any]] = json.loads((VENDOR / "vendored.json").read_text())
    for name, package in packages.items():
        for target, content in files_of(name, package).items():
            path = VENDOR / name / target
            if "--check" not in sys.argv[1:]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            elif not path.is_file() or path.read_bytes() != content:
                raise SystemExit(f"{path} is not what {name} {package['version']} has; run tools/vendor_web.py")
    print(f"{', '.join(packages)}: {'as they should be' if '--check' in sys.argv[1:] else 'written'}")


if __name__ == "__main__":
    main()
