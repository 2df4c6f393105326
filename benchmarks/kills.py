"""A run that is killed over and over and resumed each time, against the same run left alone: are the final weights the same bits?

    python benchmarks/kills.py                  # 100 kills, results/kills-cpu.json
    python benchmarks/kills.py --kills 10

SIGKILL comes at random moments of the whole life of a process (opening data, training, evaluating, writing the model), and for every
third kill while a checkpoint is being written: as soon as its half-written file is there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from resnets.classification.recipe import Recipe
from resnets.classification.recipes import get_recipe

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["resnets.training.run"])

RECIPE = {
    "network": "cifar-resnet8:width=8,stem_width=8,dropout=0.1,stochastic_depth=0.2",
    "epochs": 8,
    "log_every": 1,
    "checkpoint_steps": 2,
    "report": False,
    "evaluation": {"every": 2},
    "averaging": {"decay": 0.9},
    "augmentation": {"crop_padding": 1, "mixup": 0.2},
}
"""Overrides of the digits recipe: a small network with everything that has a state or draws at random."""


def work(recipe: Recipe | None, directory: Path) -> None:
    """What a process does: carry out the recipe, or go on with the run in the directory."""
    import torch

    from resnets.training.run import resume, train

    torch.set_num_threads(1)
    if recipe is None:
        resume(directory, kind=Recipe)
    else:
        train(recipe.updated(output=directory))


def started(recipe: Recipe, directory: Path) -> BaseProcess:
    """A process that begins the run, or goes on with it where there is one."""
    begun = (directory / "recipe.yaml").is_file()
    process = CONTEXT.Process(target=work, args=(None if begun else recipe, directory), daemon=True)
    process.start()
    return process


def half_written(directory: Path) -> bool:
    """Whether a file is being written now, or was when its process died."""
    return any(directory.glob(".checkpoint*.part")) or (directory / "checkpoint-next.pt").exists()


def kill(process: BaseProcess, directory: Path, moments: random.Random, in_write: bool, longest: float) -> None:
    """Kills the process at a random moment, or as soon as a checkpoint is half written; it may have ended before."""
    deadline = time.monotonic() + moments.uniform(0.05, longest)
    if in_write:
        while process.is_alive() and half_written(directory):  # one that an earlier kill left behind
            time.sleep(0.0005)
        deadline = time.monotonic() + 30
        ready = time.monotonic() + moments.uniform(0, longest / 3)
        while process.is_alive() and time.monotonic() < deadline and not (half_written(directory) and time.monotonic() > ready):
            time.sleep(0.0002)
    else:
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
    process.kill()
    process.join()


def harass(kills: int, folder: Path, *, seed: int = 0, longest: float = 1.2, **overrides: Any) -> dict[str, Any]:
    """Kills runs of the recipe `kills` times in all, resuming after each, and compares every finished one with the undisturbed run.

    Returns:
        kills, how many of them left a half-written checkpoint, runs, resumptions, and how many runs ended with the same bits.

    Raises:
        RuntimeError: a process ended with an error, instead of being killed or finishing.
    """
    import torch

    import resnets

    recipe = get_recipe("digits", **{**RECIPE, **overrides})
    alone = folder / "alone"
    process = started(recipe, alone)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the undisturbed run ended with status {process.exitcode}")
    expected = resnets.load_model(alone / "model.safetensors").state_dict()
    moments, done, in_write, equal, runs, resumed = random.Random(seed), 0, 0, 0, 0, 0
    while done < kills:
        directory = folder / f"killed-{runs}"
        runs += 1
        while True:
            process = started(recipe, directory)
            if done < kills:
                kill(process, directory, moments, done % 3 == 0, longest)
            process.join()
            if process.exitcode == 0:
                break
            if process.exitcode != -9:
                raise RuntimeError(f"a resumed run ended with status {process.exitcode}; see {directory}")
            done += 1
            resumed += 1
            in_write += half_written(directory)
        found = resnets.load_model(directory / "model.safetensors").state_dict()
        equal += all(torch.equal(expected[name], found[name]) for name in expected)
    return {"kills": done, "half_written": in_write, "runs": runs, "resumptions": resumed, "equal": equal}


def main() -> None:
    from records import write_record

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        found = harass(options.kills, Path(folder), seed=options.seed)
    about = "equal: runs whose final weights are the bits of the run that was never killed; half_written: kills that left part of a checkpoint"
    settings = {"recipe": "digits", "overrides": RECIPE, "seed": options.seed}
    print(write_record("kills-cpu", {"about": about, "settings": settings, **found, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
