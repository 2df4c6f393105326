"""A short pass over every parser of foreign bytes, and what harmed once: `python tests/fuzz/fuzz.py` takes as long as it is given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import judge  # noqa: E402
from parsers import PARSERS, Parser  # noqa: E402


@pytest.mark.skipif(sys.platform != "linux", reason="limits and audits are those of Linux")
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_changed_bytes_do_no_harm(parser: Parser) -> None:
    """In a process of its own, for an audit hook stays for good."""
    program = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from judge import run; from parsers import PARSERS; "
        f"found = run(next(p for p in PARSERS if p.name == {parser.name!r}), 20, 1, most=60); "
        "print(found.inputs, [why for why, _ in found.harms])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    count, _, harms = done.stdout.partition(" ")
    assert harms.strip() == "[]", harms
    assert int(count) >= 20


@pytest.mark.parametrize("file", sorted((HERE / "corpus").glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_harmed_once_harms_no_more(file: Path, tmp_path: Path) -> None:
    parser = next(parser for parser in PARSERS if parser.name == file.parent.name)
    assert judge.verdict(parser, file.read_bytes(), tmp_path)[0] in ("understood", "refused")


@pytest.mark.skipif(sys.platform != "linux", reason="limits and audits are those of Linux")
@pytest.mark.parametrize("kind", ["runs", "writes", "undeclared", "dies", "hangs"])
def test_the_judge_sees_harm(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a pass would say nothing."""
    program = f"""
import os, sys, time
sys.path.insert(0, {str(HERE)!r})
import judge
from parsers import Parser
judge.SECONDS = -4.0

def parse(path):
    if "{kind}" == "runs": os.system("true")
    if "{kind}" == "writes": open("/tmp/outside-of-the-folder", "w").close()
    if "{kind}" == "undeclared": raise KeyError("x")
    if "{kind}" == "dies": os.abort()
    time.sleep(60 if "{kind}" == "hangs" else 0)

judge.verdict.__globals__["_guard"]["on"] = False
real, judge.verdict = judge.verdict, lambda parser, content, folder: real(parser, content, folder) if content != b"seed" else None
if "{kind}" not in ("hangs",): judge.SECONDS = 10.0
found = judge.run(Parser("x", parse, lambda: [b"seed"], ".x"), 5, 0, most=1)
print(len(found.harms))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "1", done.stderr
