"""Pins the images of others by digest, `name:tag@sha256:…`, in the Dockerfile and the manifests: make image-digests.

A digest is asked of the image's registry (`docker buildx imagetools inspect`), never guessed; where none can be reached
nothing is changed. `--check` only says which are pinned, and ends with 1 when one is not.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
IMAGE = re.compile(
    r"(?P<before>^ARG PYTHON_IMAGE=|^\s+image: )(?P<tag>(?!earmark-)[\w./-]+:[\w.-]+)"
    r"(?P<digest>@sha256:[0-9a-f]{64})?$",
    re.MULTILINE,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    checking = parser.parse_args().check
    texts = {path: path.read_text() for path in files()}
    if checking:
        if by_tag := unpinned(texts.values()):
            raise SystemExit(
                f"by tag only, run `make image-digests` where their registry can be reached: {', '.join(by_tag)}"
            )
        print("every image is pinned by digest")
        return
    digests = {
        tag: ask(tag) for tag in sorted({match["tag"] for text in texts.values() for match in IMAGE.finditer(text)})
    }
    for path, text in texts.items():
        path.write_text(pinned(text, digests))
    for tag, digest in digests.items():
        print(f"{tag}@{digest}")


def files() -> list[Path]:
    """Where images that others make are named."""
    return [DEPLOY / "docker" / "Dockerfile", *sorted((DEPLOY / "k8s").rglob("*.yaml"))]


def unpinned(texts: Iterable[str]) -> list[str]:
    """The tags in ``texts`` that no digest stands behind."""
    return sorted({match["tag"] for text in texts for match in IMAGE.finditer(text) if not match["digest"]})


def pinned(text: str, digests: dict[str, str]) -> str:
    """``text`` with the digests behind the tags."""
    return IMAGE.sub(lambda match: f"{match['before']}{match['tag']}@{digests[match['tag']]}", text)


def ask(tag: str) -> str:
    """The digest a tag has in its registry now, of the list of all platforms."""
    command = ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", tag)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"docker buildx cannot be asked for {tag} ({error}); nothing was changed") from error
    digest = ran.stdout.strip()
    if ran.returncode != 0 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise SystemExit(f"no digest of {tag}; nothing was changed: {ran.stderr.strip() or digest!r}")
    return digest


if __name__ == "__main__":
    main()
