"""Fuzzes every parser of foreign bytes.

    python tests/fuzz/fuzz.py                                  # 60 seconds each
    python tests/fuzz/fuzz.py --seconds 3600 --parsers image checkpoint --record

What harms is written to tests/fuzz/corpus/PARSER/, which the test suite tries again each time. --record writes results/security.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks")]

from judge import MEMORY, SECONDS, run  # noqa: E402
from parsers import PARSERS, Parser  # noqa: E402

CORPUS = HERE / "corpus"


def fuzzed(each: Parser, options: argparse.Namespace) -> dict[str, Any]:
    """A row of the record; what harms is shown and kept."""
    tally = run(each, options.seconds, options.seed, options.most)
    row = {
        "parser": each.name, "inputs": tally.inputs, "understood": tally.understood, "refused": tally.refused,
        "harms": len(tally.harms), "slowest_seconds": round(tally.slowest, 3), "largest_process_bytes": tally.largest,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    shown: set[str] = set()
    for why, content in tally.harms:
        first = why.splitlines()[0][:80]
        if first not in shown and len(shown) < 8:
            shown.add(first)
            folder = CORPUS / each.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)
            print(f"  harm: {why}", flush=True)
    return row


def in_processes(chosen: list[Parser], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows, with so many parsers at a time."""

    def alone(each: Parser) -> dict[str, Any]:
        command = [sys.executable, __file__, "--parsers", each.name, "--seconds", str(options.seconds), "--seed", str(options.seed)]
        command += [] if options.most is None else ["--most", str(options.most)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{each.name}: {done.stderr[-2000:]}")
        row: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
        return row

    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(alone, chosen))


def main() -> int:
    names = [parser.name for parser in PARSERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for each parser")
    parser.add_argument("--parsers", nargs="+", choices=names, default=names)
    parser.add_argument("--most", type=int, help="inputs for each, whatever the time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="parsers at a time, each in a process of its own")
    parser.add_argument("--record", action="store_true", help="write results/security.json")
    options = parser.parse_args()
    chosen = [each for each in PARSERS if each.name in options.parsers]
    if options.jobs > 1 and len(chosen) > 1:
        rows = in_processes(chosen, options)
    else:
        rows = [fuzzed(each, options) for each in chosen]
    harmed = sum(row["harms"] for row in rows)
    if options.record:
        from records import write_record

        totals = {key: sum(row[key] for row in rows) for key in ("inputs", "understood", "refused", "harms")}  # type: ignore[misc]
        about = (
            "harms: code run, files touched, an undeclared error, a death, or more than the limits of time or memory for one input"
        )
        limits = {"seconds": SECONDS, "bytes": MEMORY}
        print(write_record("security", {"about": about, "seed": options.seed, "limits": limits, **totals, "parsers": rows}))
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
