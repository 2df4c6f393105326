"""One GPU in ten minutes: training, prediction, small images, deep networks and detection, beside peers and the GPU's own limits.

    python benchmarks/gpu.py                       # results/gpu-NAME.json
    python benchmarks/gpu.py --parts training depth --seconds 300
    python benchmarks/gpu.py --tiny --output FILE  # the same code in a minute or two on a CPU, with tiny networks

Each part is a process of its own (benchmarks/gpu_parts.py) that writes a row whenever it has one. A part that fails is recorded with
its error, one that is out of time with the rows it had, and the others go on. Images are random; they are on the GPU, and no part
measures loading.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from records import write_record

from resnets.core.environment import describe_environment, installed_version

PARTS = Path(__file__).resolve().parent / "gpu_parts.py"
SHARES = {"training": 0.36, "prediction": 0.2, "small": 0.16, "recipe": 0.08, "depth": 0.14, "detection": 0.06}
"""Of the time, for each part; what one leaves over the next ones may use."""


def run_part(name: str, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """The rows that the part wrote, its time, and why it stopped where it did not end well."""
    command = [sys.executable, str(PARTS), name, "--seconds", f"{seconds:.0f}", "--device", options.device]
    command += ["--tiny"] if options.tiny else []
    started = time.perf_counter()
    error = None
    try:
        # Half as much again, since a part looks at its clock between measurements only.
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1.5 * seconds)
        output, errors = done.stdout, done.stderr
        if done.returncode:
            error = " | ".join(errors.strip().splitlines()[-3:]) or f"status {done.returncode}"
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        error = f"out of time: stopped after {1.5 * seconds:.0f} s"
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    return {"rows": rows, "seconds": time.perf_counter() - started, **({"error": error} if error else {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=list(SHARES), choices=list(SHARES))
    parser.add_argument("--seconds", type=float, default=570, help="for all parts together")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and images; runs on a CPU, too")
    parser.add_argument("--output", type=Path, help="the record's file, in the place of results/gpu-NAME.json")
    options = parser.parse_args()
    if options.tiny and options.device == "cuda":
        import torch

        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    deadline = time.monotonic() + options.seconds
    waiting = list(options.parts)
    parts = {}
    while waiting:
        name = waiting.pop(0)
        left = max(10.0, deadline - time.monotonic())
        share = SHARES[name] / (SHARES[name] + sum(SHARES[other] for other in waiting))
        parts[name] = run_part(name, left * share, options)
        print(name, json.dumps(parts[name]), file=sys.stderr, flush=True)
    gpu = describe_environment()["gpu"]
    name = f"gpu-{'-'.join((gpu or 'none').lower().split())}" if options.output is None else options.output.stem
    record = {
        "about": "each part is one interleaved run; warm-up and compilation are left out; ratios are ours over timm's images/s in the same "
        "round; shares of limits are of this device's own rates, measured in the same part",
        "tiny": options.tiny,
        "device": options.device,
        "peers": {package: installed_version(package) for package in ("torchvision", "timm")},
        "parts": parts,
    }
    print(write_record(name, record, folder=options.output.parent if options.output else None))


if __name__ == "__main__":
    main()
