"""Generates `earmark/**/*_pb2*.py` from `protos/`; with `--check`, only says whether the committed code is fresh."""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"


def generate(target: Path) -> list[Path]:
    """Writes the generated code under `target` and gives the files written, relative to it."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *sources]) != 0:
        raise SystemExit("protoc failed; its message stands above")
    written = sorted(path.relative_to(target) for path in target.rglob("*_pb2*.py*") if "__pycache__" not in path.parts)
    for path in written:
        if path.name.endswith("_pb2_grpc.py") and "class " not in (target / path).read_text():
            (target / path).unlink()  # a file of messages only needs no stubs
    return [path for path in written if (target / path).exists()]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        fresh = generate(scratch)
        committed = {
            p.relative_to(ROOT) for p in (ROOT / "earmark").rglob("*_pb2*.py*") if "__pycache__" not in p.parts
        }
        if "--check" in sys.argv[1:]:
            stale = [p for p in fresh if p not in committed or not filecmp.cmp(scratch / p, ROOT / p, shallow=False)]
            stale += sorted(committed - set(fresh))
            if stale:
                raise SystemExit("not fresh, run `make proto`:\n" + "\n".join(f"  {path}" for path in stale))
            print(f"{len(fresh)} generated files are fresh")
            return
        for path in committed - set(fresh):
            (ROOT / path).unlink()
        for path in fresh:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_bytes((scratch / path).read_bytes())
        print(f"{len(fresh)} files written")


if __name__ == "__main__":
    main()
