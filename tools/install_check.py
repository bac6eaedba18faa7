"""Installs each extra alone into an empty virtual environment, imports and starts what it is for: make install-check.

What an editable install in a full .venv hides, this finds: a dependency named in the wrong extra, a file left out of
the wheel, a heavy library that reaches the gateway. The stages of deploy/docker/Dockerfile do the same: each service is
started out of its environment, with its real models, until its health says SERVING, and ended by SIGTERM; its size is
compared with the budget of its image. Name extras to check only those: ``ARGS="gateway indexer"``.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from earmark.local import models  # noqa: E402  # out of this checkout
from tests.support.ports import free_port  # noqa: E402
from tests.support.servers import mongo_server, nats_server  # noqa: E402
from tests.support.waiting import eventually_sync  # noqa: E402

LOCK = ROOT / "requirements" / "lock.txt"
HEAVY = ("av", "ctranslate2", "faiss", "faster_whisper", "onnxruntime", "sentence_transformers", "torch")


@dataclass(frozen=True)
class Install:
    """One way to install Earmark.

    Attributes:
        imports: what must import, from outside the repository.
        absent: what must not even be installed.
        files: what the wheel must carry, relative to site-packages.
        budget_mib: what its environment may take; its image is that and 130 MiB of Debian and Python.
        service: the service that is started out of it.
        beside: extras that the service's image has beside its own.
    """

    imports: tuple[str, ...]
    absent: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    budget_mib: int = 0
    service: str = ""
    beside: tuple[str, ...] = ()


INSTALLS = {
    "": Install(("earmark.client", "earmark.cli", "earmark.v1.search_service_pb2_grpc"), (*HEAVY, "nats", "pymongo")),
    "gateway": Install(
        ("services.gateway.app",), HEAVY, ("services/gateway/web/index.html",), 400, "gateway", ("redis",)
    ),
    "k8s": Install(("earmark.k8s.cluster", "earmark.cli", "kubernetes.client"), (*HEAVY, "nats", "pymongo")),
    "transcriber": Install(("services.transcriber.app",), ("torch", "faiss"), (), 600, "transcriber"),
    "embedder": Install(("services.embedder.app",), ("ctranslate2", "faiss", "av"), (), 1600, "embedder"),
    "indexer": Install(("services.indexer.app",), ("ctranslate2", "torch", "av"), (), 400, "indexer"),
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
            label = f"earmark[{','.join((extra, *INSTALLS[extra].beside))}]" if extra else "earmark"
            problems = check(extra, INSTALLS[extra], wheel, scratch / f"venv-{extra or 'core'}")
            print(f"{label}: {'ok' if not problems else '; '.join(problems)}", flush=True)
            failures += [f"{label}: {problem}" for problem in problems]
    if failures:
        raise SystemExit(1)


def check(extra: str, install: Install, wheel: Path, venv: Path) -> list[str]:
    """Install the wheel with ``extra`` into a new ``venv``; the problems found, in words."""
    run(sys.executable, "-m", "venv", str(venv))
    python = str(venv / "bin" / "python")
    extras = ",".join((extra, *install.beside))
    target = f"earmark[{extras}] @ {wheel.as_uri()}" if extras else f"earmark @ {wheel.as_uri()}"
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
    if install.service and not problems:
        run(python, str(ROOT / "tools" / "sbom.py"), str(venv / "sbom.cdx.json"))
        size = sum(path.stat().st_size for path in venv.rglob("*") if path.is_file() and "pip" not in path.parts) >> 20
        print(f"  {install.service}: {size} MiB of {install.budget_mib}", flush=True)
        if size > install.budget_mib:
            problems.append(f"takes {size} MiB, over its budget of {install.budget_mib}")
        problems += start(install.service, python, venv)
    return problems


def start(service: str, python: str, venv: Path) -> list[str]:
    """Start a service out of ``venv`` beside real servers until it is SERVING, and end it; the problems found."""
    with ExitStack() as stack:
        nats_url = stack.enter_context(nats_server(venv / "run-nats"))
        mongo_url = stack.enter_context(mongo_server(venv / "run-mongo"))
        port, log = free_port(), venv / "run.log"
        found = models.ensure(Path(os.environ.get("EARMARK_TEST_MODELS_DIR") or ROOT / ".earmark" / "models"))
        told = {
            "EARMARK_NATS_URL": nats_url,
            "EARMARK_MONGO_URL": mongo_url,
            "EARMARK_OBJECT_STORE_URL": (venv / "run-objects").as_uri(),
            "EARMARK_GRPC_PORT": str(port),
            "EARMARK_METRICS_PORT": "0",
            "EARMARK_HTTP_PORT": "0",
            "EARMARK_INDEXER_ORDINAL": "0",
            "EARMARK_INDEX_DIR": str(venv / "run-index"),
            "EARMARK_ASR_MODEL": found.asr,
            "EARMARK_RECOGNIZER_WORKERS": "1",
            "EARMARK_EMBEDDING_MODEL": found.embedding,
            "EARMARK_EMBEDDING_CACHE_DIR": str(venv / "run-models"),
            "PATH": os.environ["PATH"],
            "HF_HUB_OFFLINE": "1",
        }
        with log.open("wb") as output:
            # In the venv's folder, not the repository's, and without its PYTHONPATH.
            process = stack.enter_context(
                subprocess.Popen(
                    [python, "-m", f"services.{service}"], cwd=venv, env=told, stdout=output, stderr=output
                )
            )
        stack.callback(process.kill)

        def serving() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"ended with {process.returncode}")
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:  # noqa: TID251  # a look from outside
                try:
                    said = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
                except grpc.RpcError:
                    return False
            return bool(said.status == health_pb2.HealthCheckResponse.SERVING)

        try:
            eventually_sync(serving, 300, message=f"{service} serving")
        except (AssertionError, RuntimeError) as error:
            return [f"{service} does not start: {error}\n{log.read_text()[-2000:]}"]
        process.terminate()
        code = process.wait(60)
        return [] if code == 0 else [f"{service} ended with {code} after SIGTERM"]


def run(*command: str) -> None:
    """Run ``command``; its output is the user's, its failure ends the check."""
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
