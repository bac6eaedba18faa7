"""Writes requirements/lock.txt: the versions now in this environment of all that pyproject.toml asks for.

The lock is used as pip constraints, so that each install, of whatever extra, takes the versions that were tested
together. To move one: ``.venv/bin/pip install -U NAME && make lock && make test``. With ``--check``, only says whether
every requirement of pyproject.toml is pinned at a version that it admits.
"""

import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
HEADER = """\
# Made by `make lock` (tools/lock.py); used as pip constraints. Local version labels (torch's +cpu) are left out:
# the same version in another build satisfies the pin.
"""


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    for lines in project["optional-dependencies"].values():
        wanted += [Requirement(line) for line in lines if not line.startswith("earmark[")]
    if "--check" in sys.argv[1:]:
        problems = list(unpinned(wanted))
        if problems:
            raise SystemExit("pyproject.toml and the lock disagree, run `make lock`:\n  " + "\n  ".join(problems))
        print(f"{len(wanted)} requirements are pinned")
        return
    pins = closure(wanted)
    LOCK.parent.mkdir(exist_ok=True)
    LOCK.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
    print(f"{LOCK.relative_to(ROOT)}: {len(pins)} packages")


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Name and installed version of everything that ``wanted`` needs on this platform, directly or not."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in wanted]
    while queue:
        requirement, via = queue.pop()
        try:
            found = importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            raise SystemExit(
                f"{requirement} (needed by {via or 'pyproject.toml'}) is not installed; first run"
                f" .venv/bin/pip install -c {LOCK.relative_to(ROOT)} -e '.[all,dev,samples]'"
            ) from None
        name = canonicalize_name(requirement.name)
        pins[name] = Version(found.version).public
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                queue += [(needed, name) for needed in requirements_of(found, extra)]
    return pins


def requirements_of(found: importlib.metadata.Distribution, extra: str) -> Iterator[Requirement]:
    """What an installed package asks for when installed with ``extra`` ("" for none) on this platform."""
    for line in found.requires or []:
        requirement = Requirement(line)
        applies = not extra if requirement.marker is None else requirement.marker.evaluate({"extra": extra})
        if applies:
            yield requirement


def unpinned(wanted: list[Requirement]) -> Iterator[str]:
    """Each requirement that has no pin, or a pin it does not admit."""
    pins = dict(line.split("==") for line in LOCK.read_text().splitlines() if line and not line.startswith("#"))
    for requirement in wanted:
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin, prereleases=True):
            yield f"{requirement}: the lock has {pin or 'nothing'}"


if __name__ == "__main__":
    main()
