"""Runs that are killed over and over and resumed each time, against the same runs left alone: are the final weights the same bits?

    python benchmarks/kills.py                            # about 1,000 kills over all cells, results/kills-cpu.json
    python benchmarks/kills.py --kills 5 --cells classify-memory

A cell is a task, a way of loading its data and a number of processes. SIGKILL comes at random moments of the whole life of a run (opening
data, training, evaluating, writing the model), and for every third kill while a checkpoint is being written: as soon as its half-written file
is there. Single processes are forked from a server that has torch loaded already, so that a start costs a fraction of a second; runs of two
processes are the real command, whose whole process group is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from resnets.classification.recipe import Recipe
from resnets.detection.recipe import DetectionRecipe
from resnets.segmentation.recipe import SegmentationRecipe
from resnets.training.base_recipe import RunRecipe

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["resnets.training.run", "resnets.classification.session", "resnets.detection.session", "resnets.segmentation.session"]
)

OFTEN: dict[str, Any] = {"log_every": 1, "checkpoint_steps": 2, "report": False, "threads": 1, "device": "cpu"}
NETWORKS: dict[str, dict[str, Any]] = {
    "classify": {
        "network": "cifar-resnet8:width=8,stem_width=8,dropout=0.1,stochastic_depth=0.2", "epochs": 12, "batch_size": 32, "image_size": 32,
        "evaluation": {"every": 2}, "averaging": {"decay": 0.9}, "augmentation": {"crop_padding": 1, "mixup": 0.2},
    },
    "detect": {
        "detector": "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],min_size=64,max_size=64,anchor_sizes=[[20]],"
        "rpn_width=16,rpn_pre_nms_train=100,rpn_post_nms_train=50,rpn_pre_nms_test=100,rpn_post_nms_test=30,rpn_batch=32,box_batch=16,"
        "roi_size=7,roi_pooling=align,rpn_ignore_outside=False", "epochs": 10, "batch_size": 6,
    },
    "segment": {
        "segmenter": "fcn-cifar-resnet8:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],output_stride=4,head_width=16",
        "epochs": 16, "batch_size": 6, "crop": {"size": 64, "base_size": None, "scale": (1.0, 1.25)},
    },
}  # fmt: skip
"""Small networks with everything that has a state or draws at random."""
KINDS: dict[str, type[RunRecipe]] = {"classify": Recipe, "detect": DetectionRecipe, "segment": SegmentationRecipe}
COMMANDS = {"classify": ["train"], "detect": ["detect", "train"], "segment": ["segment", "train"]}


@dataclass(frozen=True)
class Cell:
    """A task, a way of loading, and how many processes train."""

    task: str
    loading: str
    processes: int

    @property
    def name(self) -> str:
        return f"{self.task}-{self.loading}" + (f"-{self.processes}-processes" if self.processes > 1 else "")

    def recipe(self, data: Path) -> RunRecipe:
        workers = {"workers": 2} if self.loading == "stream" and self.task != "detect" else {}
        folder = {"cache_folder": data.parent / "pixels"} if self.loading == "disk" else {}
        values = {**OFTEN, **NETWORKS[self.task], "loading": self.loading, "data": str(data), **workers, **folder}
        return KINDS[self.task]().updated(**values)


CELLS = tuple(
    Cell(task, loading, processes)
    for processes in (1, 2)
    for task, loadings in (
        ("classify", ("memory", "disk", "stream")),
        ("detect", ("memory", "stream")),
        ("segment", ("memory", "stream")),
    )
    for loading in loadings
)
"""Images with boxes or masks are kept in memory or decoded as they come; they have no cache on disk."""


class Job(Protocol):
    """What can be killed."""

    def status(self) -> int | None:
        """None while it runs; a negative number after a signal."""

    def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone."""


class Forked:
    """A run in one process, forked from a server that has torch loaded."""

    def __init__(self, cell: Cell, recipe: RunRecipe | None, directory: Path) -> None:
        self.process = CONTEXT.Process(target=work, args=(cell, recipe, directory), daemon=False)
        self.process.start()

    def status(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.killpg(self.process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        self.process.kill()
        self.process.join()


class Commanded:
    """A run of several processes, by the command itself."""

    def __init__(self, cell: Cell, recipe: RunRecipe | None, directory: Path) -> None:
        command = [sys.executable, "-m", "resnets", *COMMANDS[cell.task]]
        if recipe is None:
            command += ["--resume", str(directory)]
        else:
            file = directory.with_suffix(".yaml")
            file.write_text(recipe.to_yaml())
            command += ["--recipe", str(file), "--output", str(directory)]
        self.process = subprocess.Popen(
            [*command, "--processes", str(cell.processes)], start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=(directory.with_suffix(".log")).open("a"), env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def status(self) -> int | None:
        return self.process.poll()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def work(cell: Cell, recipe: RunRecipe | None, directory: Path) -> None:
    """What a forked process does: carry out the recipe, or go on with the run in the directory."""
    os.setsid()
    import torch

    from resnets.tasks import resume, train

    torch.set_num_threads(1)
    if recipe is None:
        resume(directory)
    else:
        train(recipe.updated(output=directory))


def started(cell: Cell, recipe: RunRecipe, directory: Path) -> Job:
    """A job that begins the run, or goes on with it where there is one."""
    begun = (directory / "recipe.yaml").is_file()
    make: Callable[[Cell, RunRecipe | None, Path], Job] = Forked if cell.processes == 1 else Commanded
    return make(cell, None if begun else recipe, directory)


def half_written(directory: Path) -> bool:
    """Whether a file is being written now, or was when its process died."""
    return any(directory.glob(".checkpoint*.part")) or (directory / "checkpoint-next.pt").exists()


def kill(job: Job, directory: Path, moments: random.Random, in_write: bool, longest: float) -> None:
    """Kills the job at a random moment, or as soon as a checkpoint is half written; it may have ended before."""
    deadline = time.monotonic() + moments.uniform(0.05, longest)
    if in_write:
        while job.status() is None and half_written(directory) and time.monotonic() < deadline:  # one that an earlier kill left
            time.sleep(0.0005)
        ready = time.monotonic() + moments.uniform(0, longest / 3)
        deadline = ready + longest
        while job.status() is None and time.monotonic() < deadline and not (half_written(directory) and time.monotonic() > ready):
            time.sleep(0.0002)
    else:
        while job.status() is None and time.monotonic() < deadline:
            time.sleep(0.001)
    if job.status() is None:
        job.kill()


def ended(job: Job) -> int:
    """Its status, waited for."""
    while (status := job.status()) is None:
        time.sleep(0.005)
    return status


def tensors(directory: Path) -> dict[str, Any]:
    """The final weights, whatever the task."""
    from safetensors.torch import load_file

    return dict(load_file(directory / "model.safetensors"))


def harass(cell: Cell, data: Path, kills: int, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Kills runs of a cell `kills` times in all, resuming after each, and compares every finished one with the undisturbed run.

    Returns:
        kills, how many of them left a half-written checkpoint, runs, how many ended with the same bits, and the folders of those that did not.

    Raises:
        RuntimeError: the undisturbed run ended with an error.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    recipe, alone = cell.recipe(data), folder / "alone"
    if ended(started(cell, recipe, folder / "warm")):
        raise RuntimeError(f"the undisturbed run of {cell.name} ended with an error")
    began = time.perf_counter()
    ended(started(cell, recipe, alone))
    longest = 1.1 * (time.perf_counter() - began)
    expected = tensors(alone)
    moments, done, in_write, equal, runs = random.Random(f"{seed} {cell.name}"), 0, 0, 0, 0
    differing: list[str] = []
    while done < kills:
        directory = folder / f"killed-{runs}"
        runs += 1
        while True:
            job = started(cell, recipe, directory)
            if done < kills:
                kill(job, directory, moments, done % 3 == 0, longest)
            status = ended(job)
            if status == 0:
                break
            if status != -signal.SIGKILL:
                differing.append(f"{directory}: ended with status {status}")
                break
            done += 1
            in_write += half_written(directory)
        if status == 0:
            found = tensors(directory)
            same = found.keys() == expected.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
            equal += same
            if not same:
                differing.append(str(directory))
    return {
        "cell": cell.name, "kills": done, "half_written": in_write, "runs": runs, "equal": equal, "differing": differing,
        "seconds_alone": longest / 1.1,
    }  # fmt: skip


def make_data(folder: Path) -> dict[str, Path]:
    """Small data for each task: handwritten digits as PNG files in folders of classes, and discs and squares with boxes and masks."""
    import PIL.Image

    from resnets.data import load

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from shape_scenes import make_scenes

    digits = load("digits", "train")
    for number in range(180):
        label = int(digits.labels[number])
        path = folder / "digits" / ("train" if number % 4 else "val") / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(digits.images[number, 0].numpy()).resize((40, 40)).save(path)
    scenes = make_scenes(folder / "shapes", train=24, val=4)
    return {"classify": folder / "digits", "detect": scenes, "segment": scenes}


def main() -> None:
    from records import write_record

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=130, help="of each cell of one process")
    parser.add_argument("--kills-of-two", type=int, default=13, help="of each cell of two processes, whose starts take seconds")
    parser.add_argument("--cells", nargs="+", choices=[cell.name for cell in CELLS], default=[cell.name for cell in CELLS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    options = parser.parse_args()
    rows = []
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = make_data(folder / "data")
        began = time.perf_counter()
        for cell in CELLS:
            if cell.name in options.cells:
                count = options.kills if cell.processes == 1 else options.kills_of_two
                rows.append(harass(cell, data[cell.task], count, folder / cell.name, seed=options.seed))
                print(rows[-1], file=sys.stderr, flush=True)
        seconds = time.perf_counter() - began
    totals = {key: sum(row[key] for row in rows) for key in ("kills", "half_written", "runs", "equal")}
    about = (
        "equal: runs whose final weights are the bits of the run that was never killed; half_written: kills that left part of a checkpoint; "
        "cells of one process are forked from a server with torch loaded, those of two are the real command"
    )
    settings = {"networks": NETWORKS, "common": OFTEN, "seed": options.seed}
    print(write_record("kills-cpu", {"about": about, "settings": settings, **totals, "cells": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
