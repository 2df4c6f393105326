"""What a named recipe reaches: whole runs through the command, one a seed, as a record that the recipe's header can name.

    python benchmarks/recipe_accuracy.py digits                                    # half a minute on two cores
    python benchmarks/recipe_accuracy.py cifar10-he2015 --device cuda --seeds 0 1 2 3 4
    python benchmarks/recipe_accuracy.py imagenet-a3 --data-folder FOLDER --device cuda --seeds 0

The record is results/recipe-NAME-cpu.json (or -gpu); the test set is looked at once a run, at its end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from records import write_record
from training import summary

from resnets.training.recipes import get_recipe

KEPT = ("top1", "loss", "num_images", "training_seconds", "images_per_second")


def run(name: str, seed: int, options: list[str]) -> dict[str, Any]:
    """One whole run, evaluated behind its last step alone."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "resnets", "train", name, "--seed", str(seed), "--evaluation.every", "0", *options]
        command += ["--no-report", "--output", str(Path(folder) / "run"), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}")
        values = json.loads(done.stdout.splitlines()[-1])
    return {"seed": seed, **{key: values[key] for key in KEPT}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-folder")
    options = parser.parse_args()
    recipe = get_recipe(options.recipe)
    folder = ["--data-folder", options.data_folder] if options.data_folder else []
    runs = [run(recipe.name, seed, ["--device", options.device, *folder]) for seed in options.seeds]
    path = write_record(
        f"recipe-{recipe.name}-{'cpu' if options.device == 'cpu' else 'gpu'}",
        {
            "about": f"the recipe {recipe.name}, whole runs on all training pictures, evaluated once on the test set; top1 in [0, 1]",
            "recipe": recipe.model_dump(mode="json"),
            "summary": {key: summary([values[key] for values in runs]) for key in ("top1", "training_seconds")},
            "runs": runs,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
