"""Carries a plan out: every task once, whatever is finished is read instead, and an interrupted run goes on from its checkpoint.

RUNS/KEY/task.yaml      what was measured
RUNS/KEY/result.json    what came of it; written last, so that it stands for "finished"
RUNS/KEY/run/           the run directory of what was trained
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..core.claims import LOCK, hold
from ..core.files import write_atomically
from ..core.text import to_json
from ..data.sources.request import cache_directory
from .budget import Plan
from .experiment import Study
from .step_time import macs
from .tasks import Task

Listener = Callable[[dict[str, Any]], None]
Results = dict[tuple[str, str, int], dict[str, Any]]
"""(arm, measurement, seed) -> result."""


def default_runs() -> Path:
    """Where finished runs are kept for all studies of this user: beside the data sets' cache."""
    return cache_directory().parent / "studies"


def result_of(task: Task, runs: Path) -> dict[str, Any] | None:
    """The kept result of a task, or None where it is not finished; a damaged file counts as not finished."""
    try:
        return dict(json.loads((runs / task.key / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def carry_out(study: Study, plan: Plan, runs: Path, listen: Listener = lambda _event: None) -> Results:
    """Measures what is not measured yet and returns everything.

    `listen` gets an event "task" before each task that is run (with `number`, `total`, `arm`, `seed`, `seconds_left`), "task done" after
    it, "cached" with how many were finished before, and the events of each training.

    Raises:
        ValueError, OSError: as `training.run.train`.
        Interrupted: a signal stopped it; what is finished is kept, and the run in hand has a checkpoint.
    """
    from ..training.loop import Interrupted
    from .measurements import measure

    tasks = plan.tasks(study)
    results: Results = {}
    missing: list[Task] = []
    for task in tasks:
        kept = result_of(task, runs)
        if kept is None:
            missing.append(task)
        else:
            results[task.arm, task.measurement, task.seed] = kept
    listen({"event": "cached", "finished": len(results), "total": len(tasks)})
    weights = _weights(plan, tasks)
    expected, spent, made = plan.estimated_seconds / (sum(weights.values()) or 1.0), 0.0, 0.0
    left = sum(weights[task.key] for task in missing)
    for number, task in enumerate(missing, len(tasks) - len(missing) + 1):
        started, step_time = time.perf_counter(), spent / made if made else expected
        about = {"arm": task.arm, "measurement": task.measurement, "seed": task.seed, "network": task.network, "key": task.key}
        listen({"event": "task", "number": number, "total": len(tasks), **about, "seconds_left": left * step_time})
        folder = runs / task.key
        with _claimed(folder, lambda message: listen({"event": "message", "message": message})):
            result = result_of(task, runs)
            if result is None:
                write_atomically(folder / "task.yaml", yaml.safe_dump(task.identity, sort_keys=False, allow_unicode=True))
                trained = task.model_copy(update={"measurement": "training"})
                of_training = results.get((task.arm, "training", task.seed))
                try:
                    result = measure(task, runs / trained.key if of_training else folder, listen, of_training)
                except Interrupted as stop:
                    done = f"{number - 1} of {len(tasks)} measurements are finished"
                    raise Interrupted(
                        f"{str(stop).partition(';')[0]} of {task.arm}; {done}, and the same command goes on"
                    ) from None
                write_atomically(folder / "result.json", to_json(result) + "\n")
        results[task.arm, task.measurement, task.seed] = result
        if weights[task.key]:
            spent, made, left = spent + time.perf_counter() - started, made + weights[task.key], left - weights[task.key]
        listen({"event": "task done", "number": number, "total": len(tasks), **about, **_summary(result)})
    return results


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    return {"metrics": result["metrics"], "diverged": result["diverged"], "seconds": result["seconds"]}


def _weights(plan: Plan, tasks: list[Task]) -> dict[str, float]:
    """How much of the plan's work each task is: steps times the network's multiply-adds, and nothing for what trains nothing."""
    weights = {}
    for task in tasks:
        if task.measurement == "training" and task.recipe is not None:
            weights[task.key] = (task.recipe.max_steps or 1) * macs(task.network) / 1e9
        else:
            weights[task.key] = 0.0
    return weights


@contextmanager
def _claimed(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Only one process works in a run's folder; another one that needs the same run waits for its result."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(error.errno, f"cannot keep the study's runs in {folder.parent}: {error.strerror or error}") from None
    with hold(folder / LOCK, folder, report, wait=True):
        yield
