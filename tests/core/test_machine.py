"""What the machine has, as control groups of several kinds bound it: each machine here is a folder of the files that Linux would show."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.core import machine


def shown(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


MEMORY = {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable:    6000 kB\n"}
GROUP = "sys/fs/cgroup/"


def test_free_memory_ends_at_the_containers_limit(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:    6000 kB\n")
    assert machine.free_memory(tmp_path) == 6000 * 1024
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.max").write_text("max\n")
    assert machine.free_memory(tmp_path) == 6000 * 1024
    (group / "memory.max").write_text("3000000\n")
    assert machine.free_memory(tmp_path) == 2000000
    (group / "memory.max").write_text("900000\n")
    assert machine.free_memory(tmp_path) == 0


def test_cached_files_of_a_container_count_as_free(tmp_path: Path) -> None:
    limits = {"memory.max": "3000000", "memory.current": "2900000", "memory.stat": "anon 5\ninactive_file 900000\n"}
    assert machine.free_memory(shown(tmp_path, {**MEMORY, **{GROUP + name: text for name, text in limits.items()}})) == 1_000_000


@pytest.mark.parametrize(
    "files",
    [
        {GROUP + "memory.max": "2000000"},
        {GROUP + "memory/memory.limit_in_bytes": "2000000"},
        {"proc/self/cgroup": "0::/a/b\n", GROUP + "a/memory.max": "2000000", GROUP + "a/b/memory.max": "max"},
        {"proc/self/cgroup": "4:memory:/a\n", GROUP + "memory/a/memory.limit_in_bytes": "2000000"},
    ],
)
def test_the_whole_memory_is_the_containers(tmp_path: Path, files: dict[str, str]) -> None:
    assert machine.total_memory(shown(tmp_path, {**MEMORY, **files})) == 2_000_000


def test_version_one_without_a_limit_is_no_limit(tmp_path: Path) -> None:
    unlimited = {GROUP + "memory/memory.limit_in_bytes": "9223372036854771712"}
    assert machine.total_memory(shown(tmp_path, {**MEMORY, **unlimited})) == 8000 * 1024


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({GROUP + "cpu.max": "max 100000"}, None),
        ({GROUP + "cpu.max": "150000 100000"}, 1.5),
        ({GROUP + "cpu/cpu.cfs_quota_us": "-1", GROUP + "cpu/cpu.cfs_period_us": "100000"}, None),
        ({GROUP + "cpu/cpu.cfs_quota_us": "50000", GROUP + "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"proc/self/cgroup": "0::/slice/job\n", GROUP + "slice/cpu.max": "100000 100000", GROUP + "slice/job/cpu.max": "max 100000"}, 1.0),
    ],
)  # fmt: skip
def test_cores_end_at_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float | None
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8))
    root = shown(tmp_path, files)
    assert machine.cpu_quota(root) == quota
    assert machine.usable_cores(root) == {None: 8, 1.5: 2, 0.5: 1, 1.0: 1}[quota]


@pytest.mark.parametrize(
    ("listing", "bf16"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni\n", False),  # Ice Lake
        ("flags\t\t: fpu avx512_bf16\n", True),  # Zen 4
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),  # Sapphire Rapids
        ("Features\t: fp asimd bf16 i8mm\n", True),  # Neoverse V1
        ("Features\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_bf16_follows_from_the_processors_features(tmp_path: Path, listing: str, bf16: bool) -> None:
    assert machine.multiplies_bf16(shown(tmp_path, {"proc/cpuinfo": listing})) is bf16
