"""The package that people install: small, complete, and importable from where it was unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "resnets"
NOT_CODE = {".css", ".csv.gz", ".html", ".js", ".json", ".md", ".typed", ".yaml"}
"""Endings of the data files that the package cannot do without, as far as it has such."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of what belongs to a checkout."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("package")
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, checkout / name)
    for name in ("tests", "results", "docs"):
        (checkout / name).mkdir()
        (checkout / name / "stays_out.py").write_text("")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (folder / "dist").glob("*.whl")
    return built


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 1_000_000


def test_the_wheel_holds_the_sources_and_their_data_files_and_nothing_else(wheel: Path) -> None:
    ours = {
        path.relative_to(SOURCES.parent).as_posix()
        for path in SOURCES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in members(wheel) if not name.split("/")[0].endswith(".dist-info")}
    assert found == ours
    for ending in NOT_CODE:
        assert any(name.endswith(ending) for name in found), f"no {ending} in the wheel"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in members(wheel))


def test_the_unpacked_wheel_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sys, resnets, resnets.cli\n"
        "from resnets.data import load\n"
        "from resnets.inspection.zoo_costs import zoo_cost\n"
        "assert 'torch' not in sys.modules\n"
        "print(resnets.__file__, zoo_cost('resnet50'), len(load('digits', 'test').labels))\n"
        "sys.exit(resnets.cli.main(['models', 'resnet18', '--json']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where, first = done.stdout.splitlines()[0].split(" ", 1)
    assert Path(where).is_relative_to(site)
    assert first == "(25557032, 4089184256) 360"
    assert '"parameters": 11689512' in done.stdout
    helped = subprocess.run(
        [sys.executable, "-m", "resnets", "--help"], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert helped.returncode == 0
    assert "usage: resnets COMMAND" in helped.stdout
