"""Records: what a benchmark measured, with everything needed to judge and repeat it, as JSON under results/."""

from __future__ import annotations

import datetime
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from resnets.core.environment import describe_environment
from resnets.core.files import write_atomically
from resnets.core.text import to_json

RESULTS = Path(__file__).resolve().parent.parent / "results"


def write_record(name: str, measured: dict[str, Any], folder: Path | None = None) -> Path:
    """Writes NAME.json to results/ or another folder: the measurements, the command, the date, the commit, hardware and versions."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    record = {
        "record": name,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip() or None,
        "environment": describe_environment(),
        **measured,
    }
    path = (folder or RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_json(record, indent=2, ensure_ascii=False) + "\n")
    return path


def read_record(name: str) -> dict[str, Any]:
    """The record results/NAME.json."""
    record: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return record
