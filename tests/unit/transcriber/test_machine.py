"""Cores and memory under limits, as containers of both versions of cgroups show them."""

import os
from pathlib import Path

from services.transcriber.machine import available_bytes, available_cores

MIB = 2**20


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_cores_are_those_this_process_may_use(tmp_path: Path) -> None:
    affinity = len(os.sched_getaffinity(0))
    assert 1 <= available_cores() <= affinity
    assert available_cores(cgroups=tmp_path, membership=tmp_path / "none") == affinity


def test_a_quota_of_cores_counts_whole_cores_and_at_least_one(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    small = tree(tmp_path / "v2", cpu_DOT_max="50000 100000\n")
    assert available_cores(cgroups=small, membership=nowhere) == 1
    free = tree(tmp_path / "free", cpu_DOT_max="max 100000\n")
    assert available_cores(cgroups=free, membership=nowhere) == len(os.sched_getaffinity(0))
    old = tree(tmp_path / "v1", cpu__cpu_DOT_cfs_quota_us="90000\n", cpu__cpu_DOT_cfs_period_us="100000\n")
    assert available_cores(cgroups=old, membership=nowhere) == 1


def test_the_quota_of_any_folder_above_counts(tmp_path: Path) -> None:
    root = tree(tmp_path / "g", a__cpu_DOT_max="100000 100000", a__b__cpu_DOT_max="max 100000")
    member = tmp_path / "cgroup"
    member.write_text("0::/a/b\n")
    assert available_cores(cgroups=root, membership=member) == 1


def test_memory_is_the_least_that_any_limit_leaves(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    assert available_bytes(cgroups=nowhere, membership=nowhere, meminfo=meminfo) == 4096 * MIB
    limited = tree(
        tmp_path / "v2",
        memory_DOT_max=f"{1024 * MIB}\n",
        memory_DOT_current=f"{512 * MIB}\n",
        memory_DOT_stat=f"anon 5\ninactive_file {128 * MIB}\n",
    )
    assert available_bytes(cgroups=limited, membership=nowhere, meminfo=meminfo) == 640 * MIB
    unlimited = tree(tmp_path / "v1", memory__memory_DOT_limit_in_bytes=f"{2**63 - 4096}\n")
    assert available_bytes(cgroups=unlimited, membership=nowhere, meminfo=meminfo) == 4096 * MIB
    assert available_bytes(cgroups=nowhere, membership=nowhere, meminfo=nowhere) is None
