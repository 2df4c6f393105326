"""Two processes against one, one thread each, on the same whole batch: how much faster is training together?

    python benchmarks/distributed.py                            # results/distributed-cpu.json
    python benchmarks/distributed.py --rounds 2 --steps 20

A round trains the same recipe once with each number of processes, in an order that turns from round to round; efficiency is the speed of
several over the speed of one, divided by their number.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from records import write_record

from resnets.classification.recipes import get_recipe

NETWORKS = {
    "the fast recipe's own": {},
    "cifar-resnet20 at 28 x 28": {"network": "cifar-resnet20"},
}
"""Overrides of the recipe fashion-mnist: a network of few large convolutions, and one of many small ones."""


def speed(recipe: Path, size: int, folder: Path) -> float:
    """Images a second of one run in `size` processes with one thread each."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    train = ["-m", "resnets", "train", "--recipe", str(recipe), "--json", "--output"]
    done = subprocess.run(
        [*launch, *train, str(folder / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    last = json.loads(done.stdout.splitlines()[-1])
    return float(last["images_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Fashion-MNIST's files")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=256)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, overrides in NETWORKS.items():
            recipe = get_recipe(
                "fashion-mnist",
                **overrides,
                data_folder=options.folder and options.folder.resolve(),
                max_steps=options.steps,
                batch_size=options.batch,
                pruning=0.0,
                report=False,
                threads=1,
                device="cpu",
            )
            file = Path(place) / "recipe.yaml"
            file.write_text(recipe.to_yaml())
            speeds: dict[int, list[float]] = {size: [] for size in options.sizes}
            for turn in range(options.rounds):
                for size in sorted(options.sizes, reverse=bool(turn % 2)):
                    with tempfile.TemporaryDirectory() as folder:
                        speeds[size].append(speed(file, size, Path(folder)))
            alone = speeds[options.sizes[0]]
            efficiency = {
                size: statistics.median(
                    several / one / (size / options.sizes[0]) for several, one in zip(speeds[size], alone, strict=True)
                )
                for size in options.sizes[1:]
            }
            rows.append({"network": name, "overrides": overrides, "images_per_second": speeds, "efficiency": efficiency})
            print(name, efficiency, file=sys.stderr, flush=True)
    about = "efficiency: median over rounds of the speed of several processes over that of one, divided by their number"
    print(write_record("distributed-cpu", {"about": about, "batch": options.batch, "steps": options.steps, "rows": rows}))


if __name__ == "__main__":
    main()
