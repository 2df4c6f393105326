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

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and audits are those of Linux")
KEPT = HERE / "corpus"


def judged(call: str) -> str:
    """What a program prints that calls the judge, in a process of its own: an audit hook stays for good."""
    program = (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(HERE)!r}); from judge import replay, run; from parsers import PARSERS\n"
        f"parsers = {{each.name: each for each in PARSERS}}; found = {call}\n"
        "print(found.inputs, [why for why, _ in found.harms])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_changed_bytes_do_no_harm(parser: Parser) -> None:
    count, _, harms = judged(f"run(parsers[{parser.name!r}], 20, 1, most=60)").partition(" ")
    assert harms == "[]", harms
    assert int(count) >= 20


@linux
@pytest.mark.parametrize("name", sorted(folder.name for folder in KEPT.iterdir()))
def test_what_harmed_once_harms_no_more(name: str) -> None:
    count = len(list((KEPT / name).iterdir()))
    contents = f"[each.read_bytes() for each in sorted(Path({str(KEPT / name)!r}).iterdir())]"
    assert judged(f"replay(parsers[{name!r}], {contents})") == f"{count} []"


@linux
@pytest.mark.parametrize("kind", ["runs", "writes", "undeclared", "dies", "hangs"])
def test_the_judge_sees_harm(kind: str) -> None:
    """Otherwise a pass would say nothing."""
    program = f"""
import os, sys, time
sys.path.insert(0, {str(HERE)!r})
import judge
from parsers import Parser
judge.SECONDS = {judge.SECONDS if kind != "hangs" else 0.2}  # of the processor; six times as long by the clock

def parse(path):
    if "{kind}" == "runs": os.system("true")
    if "{kind}" == "writes": open("/tmp/outside-of-the-folder", "w").close()
    if "{kind}" == "undeclared": raise KeyError("x")
    if "{kind}" == "dies": os.abort()
    time.sleep(60 if "{kind}" == "hangs" else 0)

real, judge.verdict = judge.verdict, lambda parser, content, folder: real(parser, content, folder) if content != b"seed" else None
found = judge.run(Parser("x", parse, lambda: [b"seed"], ".x"), 5, 0, most=1)
print(len(found.harms))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "1", done.stderr
