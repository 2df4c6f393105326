"""Training on Fashion-MNIST against the tutorial's own loop, interleaved in one run on one machine.

    python benchmarks/training.py                       # everything: about 12 minutes on two cores
    python benchmarks/training.py --rounds 3 --seeds 0  # a quick look

Each round times, one after the other and each in a process of its own: the tutorial's loop (benchmarks/tutorial_loop.py), our
recipe `fashion-mnist-tutorial` over as many steps, and whole runs of the fast recipes with that round's seed. The record in
results/training-cpu.json (or -gpu) holds every single measurement.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from records import write_record

from resnets.data.datasets.locate import locate

HERE = Path(__file__).resolve().parent
TUTORIAL_IMAGES = 5 * 60_000
"""Images that the tutorial's job sees: five epochs."""
FAST_RECIPES = ("fashion-mnist", "fashion-mnist-accurate")


def last_json(command: list[str]) -> dict[str, Any]:
    """Runs a command and reads the last line of its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}:\n{done.stderr}")
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def tutorial(folder: Path, steps: int, workers: int, device: str) -> dict[str, Any]:
    """One timing of the tutorial's loop."""
    options = ["--folder", str(folder), "--steps", str(steps), "--workers", str(workers), "--device", device]
    return last_json([sys.executable, str(HERE / "tutorial_loop.py"), *options])


def ours(folder: Path, steps: int, device: str) -> dict[str, Any]:
    """One timing of our recipe over as many steps, with the same warm-up left out."""
    options = ["--folder", str(folder), "--steps", str(steps), "--device", device]
    return last_json([sys.executable, str(HERE / "recipe_steps.py"), "fashion-mnist-tutorial", *options])


def run_recipe(name: str, seed: int, folder: Path, device: str) -> dict[str, Any]:
    """A whole run of a recipe through the command; the test set is looked at once, at its end."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            sys.executable,
            "-m",
            "resnets",
            "train",
            name,
            "--seed",
            str(seed),
            "--data-folder",
            str(folder),
            "--device",
            device,
        ]
        done = last_json([*command, "--no-report", "--output", str(Path(output) / "run"), "--json"])
    return {"seed": seed, **{key: done[key] for key in ("top1", "loss", "training_seconds", "images_per_second")}}


def summary(values: list[float]) -> dict[str, float]:
    """Mean, sample standard deviation, smallest and largest."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "standard_deviation": spread, "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="one round per seed")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of a round")
    parser.add_argument("--recipes", nargs="*", default=list(FAST_RECIPES))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    folder = locate("fashion-mnist", report=lambda message: print(message, file=sys.stderr))
    # The tutorial asks for four workers; the peer is given whichever number serves it best here.
    tried = {workers: tutorial(folder, 5, workers, options.device)["images_per_second"] for workers in (0, 2, 4)}
    workers = max(tried, key=tried.__getitem__)
    print(f"tutorial loop, images/s by workers: {tried}", file=sys.stderr)
    rounds: list[dict[str, Any]] = []
    for seed in options.seeds:
        measured: dict[str, Any] = {
            "tutorial_loop": tutorial(folder, options.steps, workers, options.device),
            "fashion-mnist-tutorial": ours(folder, options.steps, options.device),
        }
        for name in options.recipes:
            measured[name] = run_recipe(name, seed, folder, options.device)
        speed = measured["tutorial_loop"]["images_per_second"]
        measured["ratio"] = {"fashion-mnist-tutorial": measured["fashion-mnist-tutorial"]["images_per_second"] / speed}
        for name in options.recipes:
            measured["ratio"][name] = TUTORIAL_IMAGES / speed / measured[name]["training_seconds"]
        rounds.append(measured)
        print(json.dumps(measured), file=sys.stderr)
    path = write_record(
        f"training-{'cpu' if options.device == 'cpu' else 'gpu'}",
        {
            "about": "ratio: images/s over the tutorial loop's for fashion-mnist-tutorial; for the fast recipes the time that five "
            "epochs of the tutorial's loop take, by its images/s in the same round, over the training time (data loading to last step)",
            "tutorial_workers_tried": tried,
            "tutorial_workers": workers,
            "summary": {
                name: {
                    "ratio": summary([r["ratio"][name] for r in rounds]),
                    **(
                        {key: summary([r[name][key] for r in rounds]) for key in ("top1", "training_seconds")}
                        if name in options.recipes
                        else {}
                    ),
                }
                for name in ("fashion-mnist-tutorial", *options.recipes)
            },
            "rounds": rounds,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
