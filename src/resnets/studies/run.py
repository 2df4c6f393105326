"""A study from its name to its page: plan, carry out, record, draw."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..classification.recipe import Recipe
from ..core.files import write_atomically
from ..data.datasets.catalogue import DATASETS
from ..data.datasets.user_data import absolute, is_path
from ..data.sources.request import known_name
from .budget import Plan, plan_study
from .catalogue import STUDIES, get_study
from .experiment import Study
from .protocol import carry_out, default_runs
from .record import make_record
from .step_time import MeasuredStepTime, macs

Listener = Callable[[dict[str, Any]], None]


def data_named(text: str) -> str:
    """A data set's name, or the absolute path of a folder, which means the same in any working directory.

    Raises:
        ValueError: neither.
    """
    from ..classification.user_data import IMAGENET

    if text in DATASETS or text == IMAGENET:
        return text
    return absolute(text) if is_path(text) else known_name(text, [*DATASETS, IMAGENET])


@dataclass(frozen=True)
class Request:
    """What was asked for, apart from which study."""

    budget: float = 600.0
    """Seconds."""
    data: str = "fashion-mnist"
    seeds: int | None = None
    steps: int | None = None
    rung: str | None = None
    device: str = "auto"
    threads: int = 0
    runs: Path | None = None
    """Where finished runs are kept; None for the user's cache."""

    @property
    def folder(self) -> Path:
        """Where finished runs are kept."""
        return self.runs or default_runs()


def plan_of(study: Study, request: Request, output: Path, listen: Listener) -> Plan:
    """The plan that is in `output` if it was made for the same request, else a new one, which is kept there."""
    file = output / "plan.json"
    asked = _asked(study, request)
    kept = _kept_plan(file, asked)
    if kept is not None:
        return kept
    step_time = MeasuredStepTime(request.folder / "pace.json", lambda message: listen({"event": "message", "message": message}))
    plan = plan_study(
        study, budget=request.budget, data=request.data, step_time=step_time, seeds=request.seeds, steps=request.steps, rung=request.rung,
        device=request.device, threads=request.threads,
    )  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"asked": asked, "plan": plan.model_dump(mode="json")}, indent=1) + "\n")
    return plan


def _asked(study: Study, request: Request) -> dict[str, Any]:
    """What a plan depends on, as JSON values."""
    of_the_study = study.model_dump(mode="json", include={"name", "arms", "rungs", "recipe", "paper"})
    asked = {"study": of_the_study, **{field: getattr(request, field) for field in _PLANNED_BY}}
    return dict(json.loads(json.dumps(asked)))


_PLANNED_BY = ("budget", "data", "seeds", "steps", "rung", "device", "threads")


def _kept_plan(file: Path, asked: dict[str, Any]) -> Plan | None:
    """The plan in `file`, or None where there is none, it is damaged, or something else was asked for."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return Plan.model_validate(kept["plan"]) if kept["asked"] == asked else None
    except (OSError, ValueError, KeyError):
        return None


def run_study(name: str, request: Request, output: Path, listen: Listener = lambda _event: None) -> dict[str, Any]:
    """Runs a study as far as it is not finished and writes its files into `output`: record.json, NAME.svg of each figure, index.html.

    Returns:
        The record, with `page`, the path of the page.

    Raises:
        ValueError, OSError: as `training.run.train`.
        Interrupted: a signal stopped it; the same call goes on.
    """
    from ..core.environment import describe_environment
    from .page import write_study

    study = get_study(name)
    plan = plan_of(study, request, output, listen)
    listen({"event": "plan", "study": name, "plan": plan})
    results = carry_out(study, plan, request.folder, listen)
    record = make_record(study, plan, results, describe_environment(), command(name, request))
    return {**record, "page": str(write_study(record, output))}


def command(name: str, request: Request) -> str:
    """The command line that repeats it."""
    options = f"--budget {duration_option(request.budget)} --data {request.data}"
    for option, value in (("seeds", request.seeds), ("steps", request.steps), ("size", request.rung)):
        if value is not None:
            options += f" --{option} {json.dumps(value) if ' ' in str(value) else value}"
    return f"resnets study {name} {options}"


def duration_option(seconds: float) -> str:
    """Seconds as --budget takes them: 90s, 10m, 1h."""
    for unit, letter in ((3600, "h"), (60, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g}{letter}"
    return f"{seconds:g}s"


def shares(budget: float) -> dict[str, float]:
    """The budget of each study when all are run: the same for each that trains, nothing for what is only counted."""
    training = [study.name for study in STUDIES.values() if study.trains]
    return {name: budget / len(training) if name in training else 0.0 for name in STUDIES}


def costs(study: Study, request: Request, report: Callable[[str], None]) -> tuple[float, float]:
    """Seconds of the study's smallest size with its fewest steps and three seeds, from measured steps; and of the paper's own, about:
    the same seconds a multiply-add."""
    if not study.trains:
        return 0.0, 0.0
    step_time = MeasuredStepTime(request.folder / "pace.json", report)
    smallest, largest = study.rungs[0], study.rungs[-1]
    least = plan_study(study, budget=0.0, data=request.data, step_time=step_time, seeds=3, rung=smallest.name, steps=smallest.minimum_steps,
                       device=request.device, threads=request.threads)  # fmt: skip
    per_mac = max(step_time(recipe) / (recipe.batch_size * macs(recipe.network, _size(recipe))) for _, recipe in least.recipes)

    def by_macs(recipe: Recipe) -> float:
        return per_mac * recipe.batch_size * macs(recipe.network)

    seeds = study.paper.seeds or 1
    whole = plan_study(study, budget=0.0, data=request.data, step_time=by_macs, seeds=seeds, rung=largest.name,
                       steps=study.paper.steps or largest.minimum_steps)  # fmt: skip
    return least.estimated_seconds, whole.estimated_seconds


def _size(recipe: Recipe) -> int:
    """Of the images that the recipe's network is given."""
    info = DATASETS.get(recipe.data)
    return recipe.image_size or (info.size if info else 32)
