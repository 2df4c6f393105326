"""`make size` counts lines as they are and finds what two rooms share."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "size.py"


@pytest.fixture(scope="module")
def size() -> ModuleType:
    """benchmarks/size.py."""
    spec = importlib.util.spec_from_file_location("size", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["size"] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def test_lines_are_counted_by_room(size: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "__init__.py", ["import a"])
    write(tmp_path / "detection" / "model" / "roi.py", ["a", "", "b"])
    write(tmp_path / "detection" / "boxes.py", ["c"])
    assert size.room_lines(tmp_path) == {".": (1, 1), "detection": (2, 4)}


def test_a_run_that_two_rooms_share_is_found_whatever_its_indentation(size: ModuleType, tmp_path: Path) -> None:
    shared = [f"line({number})" if number != 7 else "" for number in range(15)]
    write(tmp_path / "one" / "a.py", ["first", *shared, "", "mine"])
    write(tmp_path / "two" / "b.py", ["other", "other", *(f"    {line}" if line else "" for line in shared), "", "yours"])
    found = size.repeats(tmp_path, ("one", "two"), 15)
    assert [str(repeat).split(maxsplit=2)[2] for repeat in found] == ["one/a.py:2-16  =  two/b.py:3-17"]
    assert size.repeats(tmp_path, ("one", "two"), 16) == []


def test_a_run_within_one_room_is_no_matter_of_tasks(size: ModuleType, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "one" / f"{name}.py", [f"line({number})" for number in range(20)])
    (tmp_path / "two").mkdir()
    assert size.repeats(tmp_path, ("one", "two"), 15) == []


def test_the_tasks_share_no_run_of_fifteen_lines() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "classification" in done.stdout
