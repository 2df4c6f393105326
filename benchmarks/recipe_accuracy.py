"""What a named recipe reaches: whole runs through the command, one per seed, as a record that the recipe's header can name.

    python benchmarks/recipe_accuracy.py digits                                    # half a minute on two cores
    python benchmarks/recipe_accuracy.py cifar10-he2015 --device cuda --seeds 0 1 2 3 4
    python benchmarks/recipe_accuracy.py imagenet-a3 --data-folder FOLDER --device cuda --seeds 0
    python benchmarks/recipe_accuracy.py fashion-scenes-c4 --seeds 0               # detectors and segmenters likewise
    python benchmarks/recipe_accuracy.py fashion-scenes-c4 --seeds 0 --testing="--flip --box-refinement"    # and with additions in testing
    python benchmarks/recipe_accuracy.py fashion-scenes-fcn --seeds 0 --processes 2

The record is results/recipe-NAME-cpu.json (or -gpu); the test set is looked at once per run, at its end.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from records import write_record
from training import summary

from resnets.classification.recipes import RECIPES as CLASSIFIERS
from resnets.detection.recipes import RECIPES as DETECTORS
from resnets.segmentation.recipes import RECIPES as SEGMENTERS
from resnets.training.base_recipe import RunRecipe

RECIPES: dict[str, RunRecipe] = {**CLASSIFIERS, **DETECTORS, **SEGMENTERS}
SCORES = {
    "train": ("top1", "loss"),
    "detect train": ("ap50", "ap", "voc12", "voc07"),
    "segment train": ("mean_iou", "pixel_accuracy"),
}
"""By command, what its networks are judged by; the first is what a recipe's header names."""
KEPT = ("num_images", "training_seconds", "images_per_second", "seconds_per_image")


def run(recipe: RunRecipe, seed: int, options: list[str], testing: str) -> dict[str, Any]:
    """One whole run, evaluated after its last step alone, and once more with `testing`'s options where there are any."""
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "run")
        values = said([*recipe.command.split(), recipe.name, "--seed", str(seed), "--evaluation.every", "0", *options, "--no-report",
                       "--output", output])  # fmt: skip
        made = {"seed": seed, **scores(recipe, values)}
        if testing:
            evaluate = [*recipe.command.split()[:-1], "evaluate", output, *shlex.split(testing)]
            made["with_additions_in_testing"] = {"options": testing, **scores(recipe, said(evaluate))}
    return made


def said(arguments: list[str]) -> dict[str, Any]:
    """What the command with these arguments says at its end."""
    command = [sys.executable, "-m", "resnets", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}")
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def scores(recipe: RunRecipe, values: dict[str, Any]) -> dict[str, Any]:
    """Of what a command said: what the network is judged by, and what it took."""
    kept = [*SCORES[recipe.command], *(key for key in KEPT if key in values)]
    per_class = {} if recipe.command == "train" else {"per_class": values["per_class"]}
    return {**{key: values[key] for key in kept}, **per_class}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-folder")
    parser.add_argument("--processes", type=int, default=1, help="that train together on this machine")
    parser.add_argument("--testing", default="", help="options of `evaluate` with which each run is evaluated once more")
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    folder = ["--data-folder", options.data_folder] if options.data_folder else []
    together = ["--processes", str(options.processes)] if options.processes > 1 else []
    runs = [run(recipe, seed, ["--device", options.device, *folder, *together], options.testing) for seed in options.seeds]
    path = write_record(
        f"recipe-{recipe.name}-{'cpu' if options.device == 'cpu' else 'gpu'}",
        {
            "about": f"the recipe {recipe.name}, whole runs on all training images, evaluated once on the test set; scores in [0, 1]",
            "recipe": recipe.model_dump(mode="json"),
            "summary": {key: summary([values[key] for values in runs]) for key in (*SCORES[recipe.command], "training_seconds")},
            "runs": runs,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
