"""The deepest networks on this machine: time to build, one training step, and what gradient checkpointing does to its memory.

    python benchmarks/depth.py        # results/depth-cpu.json

Each measurement has a process of its own. Memory is the growth of the process's peak over what it held before the step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

NETWORKS = ("cifar-resnet1202", "cifar-preact-resnet1001")


def measure(name: str, checkpointing: bool, batch: int) -> dict[str, float]:
    """Builds the network and makes one training step in fp32."""
    import torch

    import resnets

    started = time.perf_counter()
    network = resnets.create_model(name, gradient_checkpointing=checkpointing)
    built = time.perf_counter() - started
    images, labels = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
    scale = 1 if sys.platform == "darwin" else 1024
    grown = scale * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return {"build_seconds": built, "step_seconds": time.perf_counter() - started, "step_memory_bytes": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.checkpointing, options.batch)))
        return
    from records import write_record

    rows = {}
    for name in NETWORKS:
        rows[name] = {}
        for kind, flags in (("plain", []), ("checkpointing", ["--checkpointing"])):
            command = [sys.executable, __file__, "--one", name, "--batch", str(options.batch), *flags]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[name][kind] = json.loads(done.stdout.splitlines()[-1])
        rows[name]["memory_share"] = rows[name]["checkpointing"]["step_memory_bytes"] / rows[name]["plain"]["step_memory_bytes"]
        print(name, rows[name], file=sys.stderr)
    print(write_record("depth-cpu", {"batch": options.batch, "precision": "fp32", "networks": rows}))


if __name__ == "__main__":
    main()
