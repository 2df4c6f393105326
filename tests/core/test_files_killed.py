"""Files that belong together, written by a process that is killed at every moment of it."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from kill_moments import moments

from resnets.core.files import clear_leftovers, write_together

if not hasattr(os, "fork"):
    pytest.skip("no fork here", allow_module_level=True)


def test_old_never_stands_beside_new(tmp_path: Path) -> None:
    weights, report, graph = (tmp_path / name for name in ("net.bin", "net.json", "net.xml"))
    found = set()

    def prepare() -> None:
        for path in (weights, report, graph):
            clear_leftovers(path)
            path.write_text("old")

    def check(moment: int) -> None:
        if graph.exists():
            kinds = {path.read_text() for path in (weights, report, graph)}
            assert len(kinds) == 1, f"at moment {moment}"
            found.update(kinds)

    kills = moments(lambda: write_together({weights: "new", report: "new", graph: "new"}), prepare, check)
    assert kills >= 9
    assert found == {"old", "new"}
    assert graph.read_text() == "new"
    prepare()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.json", "net.xml"]
