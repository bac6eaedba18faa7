"""Writes what is installed beside this Python as a CycloneDX bill of materials; needs nothing but the standard library.

python tools/sbom.py /venv/sbom.cdx.json
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import sys
import uuid
from pathlib import Path
from typing import Any


def main() -> None:
    text = json.dumps(bill(), indent=1)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n")
    else:
        print(text)


def bill() -> dict[str, Any]:
    """The bill of this environment, CycloneDX 1.5."""
    found = {}
    for distribution in importlib.metadata.distributions():
        entry = component(distribution)
        found[entry["purl"]] = entry
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "tools": [{"name": "earmark tools/sbom.py"}],
        },
        "components": [found[purl] for purl in sorted(found)],
    }


def component(distribution: importlib.metadata.Distribution) -> dict[str, Any]:
    """One distribution, with its licence as it says it."""
    name, version = distribution.metadata["Name"], distribution.version
    entry: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
    }
    said = distribution.metadata.get("License-Expression")
    classified = [
        line.rpartition(" :: ")[2]
        for line in distribution.metadata.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    if said:
        entry["licenses"] = [{"expression": said}]
    elif classified:
        entry["licenses"] = [{"license": {"name": text}} for text in classified]
    return entry


if __name__ == "__main__":
    main()
