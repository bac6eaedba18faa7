"""Installs each extra alone into an empty virtual environment and imports what it is for: make install-check.

What an editable install in a full .venv hides, this finds: a dependency named in the wrong extra, a file left out of
the wheel, a heavy library that reaches the gateway. Name extras to check only those: ``ARGS="gateway indexer"``.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
HEAVY = ("av", "ctranslate2", "faiss", "faster_whisper", "onnxruntime", "sentence_transformers", "torch")


@dataclass(frozen=True)
class Install:
    """One way to install Earmark.

    Attributes:
        imports: what must import, from outside the repository.
        absent: what must not even be installed.
        files: what the wheel must carry, relative to site-packages.
    """

    imports: tuple[str, ...]
    absent: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


INSTALLS = {
    "": Install(("earmark.client", "earmark.cli", "earmark.v1.search_service_pb2_grpc"), (*HEAVY, "nats", "pymongo")),
    "gateway": Install(("services.gateway.app",), HEAVY, ("services/gateway/web/index.html",)),
    "transcriber": Install(("services.transcriber.app",), ("torch", "faiss")),
    "embedder": Install(("services.embedder.app",), ("ctranslate2", "faiss", "av")),
    "indexer": Install(("services.indexer.app",), ("ctranslate2", "torch", "av")),
    "local": Install(("earmark.local", "earmark.local.models"), ("faiss",)),
}


def main() -> None:
    wanted = sys.argv[1:] or list(INSTALLS)
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="earmark-install-") as folder:
        scratch = Path(folder)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT))
        wheel = next(scratch.glob("earmark-*.whl"))
        for extra in wanted:
            label = f"earmark[{extra}]" if extra else "earmark"
            problems = check(extra, INSTALLS[extra], wheel, scratch / f"venv-{extra or 'core'}")
            print(f"{label}: {'ok' if not problems else '; '.join(problems)}", flush=True)
            failures += [f"{label}: {problem}" for problem in problems]
    if failures:
        raise SystemExit(1)


def check(extra: str, install: Install, wheel: Path, venv: Path) -> list[str]:
    """Install the wheel with ``extra`` into a new ``venv``; the problems found, in words."""
    run(sys.executable, "-m", "venv", str(venv))
    python = str(venv / "bin" / "python")
    target = f"earmark[{extra}] @ {wheel.as_uri()}" if extra else f"earmark @ {wheel.as_uri()}"
    run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--constraint", str(LOCK), target)
    problems = []
    for module in install.imports:
        # In the venv's folder, not the repository's: what is imported is what was installed.
        imported = subprocess.run(
            [python, "-c", f"import {module}"], capture_output=True, text=True, cwd=venv, check=False
        )
        if imported.returncode != 0:
            problems.append(f"import {module}: {imported.stderr.strip().splitlines()[-1]}")
    for module in install.absent:
        found = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is not None)"
        if subprocess.run([python, "-c", found], cwd=venv, check=False).returncode != 0:
            problems.append(f"{module} is installed and must not be")
    packages = next((venv / "lib").glob("python3.*")) / "site-packages"
    problems += [f"the wheel lacks {name}" for name in install.files if not (packages / name).is_file()]
    return problems


def run(*command: str) -> None:
    """Run ``command``; its output is the user's, its failure ends the check."""
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
