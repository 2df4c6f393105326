"""Fuzzes every parser of foreign bytes.

    python tests/fuzz/fuzz.py                                  # 60 seconds each
    python tests/fuzz/fuzz.py --seconds 3600 --parsers image checkpoint --record

What harms is written to tests/fuzz/corpus/PARSER/, which the test suite tries again each time. --record writes results/security.json.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks")]

from judge import MEMORY, SECONDS, run  # noqa: E402
from parsers import PARSERS  # noqa: E402

CORPUS = HERE / "corpus"


def main() -> int:
    names = [parser.name for parser in PARSERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for each parser")
    parser.add_argument("--parsers", nargs="+", choices=names, default=names)
    parser.add_argument("--most", type=int, help="inputs for each, whatever the time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write results/security.json")
    options = parser.parse_args()
    rows, harmed = [], 0
    for each in PARSERS:
        if each.name not in options.parsers:
            continue
        tally = run(each, options.seconds, options.seed, options.most)
        harmed += len(tally.harms)
        rows.append(
            {
                "parser": each.name, "inputs": tally.inputs, "understood": tally.understood, "refused": tally.refused,
                "harms": len(tally.harms), "slowest_seconds": round(tally.slowest, 3), "largest_process_bytes": tally.largest,
            }
        )  # fmt: skip
        print(rows[-1], flush=True)
        shown: set[str] = set()
        for why, content in tally.harms:
            first = why.splitlines()[0][:80]
            if first not in shown and len(shown) < 8:
                shown.add(first)
                folder = CORPUS / each.name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)
                print(f"  harm: {why}", flush=True)
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
