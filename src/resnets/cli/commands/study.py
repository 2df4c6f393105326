"""resnets study: an experiment of the papers, measured again on data and a budget of your choice."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from ...core.errors import UserError
from ...reports.progress import Teller
from ...reports.tables import duration, print_table, table
from ...studies import STUDIES, get_study
from ...studies.experiment import Study
from ...studies.metrics import METRICS
from ..command import Command
from ..options import messages, print_json, results

_DESCRIPTION = """\
Measure a claim of the residual papers again. NAME is one of {names}.

  resnets study degradation --budget 30m     run what is not finished yet, then write studies/degradation/index.html
  resnets study --all --budget 1h            every study on one page
  resnets study --list                       what each one asks, and what it costs on this machine
"""
_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class StudyOptions:
    """Options of `resnets study`."""

    name: tyro.conf.Positional[str | None] = None
    """The study."""
    all: bool = False
    """Run every study, each with a share of the budget, and write one page of all."""
    list: bool = False
    """List the studies with their cost on this machine, from a measured step."""
    budget: str = "10m"
    """Time for the whole, such as 90s, 10m or 1h: it decides depth, steps and seeds. An estimate from measured steps."""
    data: str = "fashion-mnist"
    """Data set: fashion-mnist, digits, cifar10, cifar100, imagenet, or a folder of images."""
    seeds: int | None = None
    """Runs of each network; unset: 3, or more where the budget allows."""
    steps: int | None = None
    """Optimizer steps of each run; unset: as many as the budget allows."""
    size: str | None = None
    """Run the study at this of its sizes, such as "56 layers" or "paper"; unset: the largest that the budget allows."""
    device: str = "auto"
    """Device, as in `resnets train --device`."""
    threads: int = 0
    """CPU threads; 0 for one per core."""
    output: Path | None = None
    """Folder of the result; unset: studies/NAME, and studies for --all."""
    runs: Path | None = None
    """Folder of finished runs, which are never repeated; unset: the user's cache."""
    json: bool = False
    """One object a finished run on standard output, and one of the study at the end."""


def run(options: StudyOptions) -> int:
    """Carries out the command."""
    if options.name is not None and (options.all or options.list):
        raise UserError(f"--all and --list are for every study; leave them or the name {options.name!r} out")
    if options.list:
        return _list(options)
    if options.all:
        return _run_all(options)
    if options.name is None:
        raise UserError(f"name a study: resnets study {' | '.join(STUDIES)}, or --all, or --list")
    study = get_study(options.name)
    record = _run_one(study, options, seconds(options.budget), options.output or Path("studies") / study.name)
    if options.json:
        print_json(_closing(record))
    else:
        _print(record)
    return 0


def seconds(text: str) -> float:
    """A duration such as 90s, 10m, 1h or 1h30m in seconds.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    total = sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0.0
    if total <= 0:
        raise UserError(f"--budget {text!r} is no time; write for instance 90s, 10m or 1h30m")
    return total


def _request(options: StudyOptions, budget: float) -> Any:
    from ...studies.run import Request, data_named

    return Request(
        budget=budget, data=data_named(options.data), seeds=options.seeds, steps=options.steps, rung=options.size, device=options.device,
        threads=options.threads, runs=options.runs,
    )  # fmt: skip


def _run_one(study: Study, options: StudyOptions, budget: float, output: Path) -> dict[str, Any]:
    from ...core.environment import keep_large_buffers
    from ...studies.run import run_study

    if study.trains:
        keep_large_buffers()
    return run_study(study.name, _request(options, budget), output, StudyProgress(messages(), as_json=options.json))


def _run_all(options: StudyOptions) -> int:
    from ...studies.page import write_audit
    from ...studies.run import shares

    output = options.output or Path("studies")
    records = []
    for name, share in shares(seconds(options.budget)).items():
        if not options.json:
            messages().print(f"{name}: {STUDIES[name].question}", soft_wrap=True, markup=False)
        record = _run_one(STUDIES[name], options, share, output / name)
        records.append(record)
        if options.json:
            print_json(_closing(record))
    page = write_audit(records, output / "index.html")
    if options.json:
        print_json(
            {"study": "all", "claim": None, "holds": None, "rows": [_closing(record) for record in records], "page": str(page)}
        )
    else:
        rows = [(record["study"], _word(record["holds"]), record["answer"]) for record in records]
        print_table(results(), table("", ("study", "held?", "answer"), rows))
        results().print(f"page  {page}", soft_wrap=True)
    return 0


def _closing(record: dict[str, Any]) -> dict[str, Any]:
    """The object that ends `study --json`."""
    first = ("study", "claim", "holds", "answer", "rows", "outcomes", "differences", "page")
    return {key: record[key] for key in first}


def _word(holds: bool | None) -> str:
    return {True: "yes", False: "no", None: "not resolved"}[holds]


def _print(record: dict[str, Any]) -> None:
    from ...studies.page import cell

    console = results()
    console.print(record["answer"], markup=False, soft_wrap=True)
    rows = [(outcome["statement"], outcome["measured"], _word(outcome["holds"])) for outcome in record["outcomes"]]
    print_table(console, table("What is claimed", ("claimed", "measured", "held?"), rows))
    names = record["metrics"]
    columns = ("arm", *(METRICS[name].label + (f" ({METRICS[name].unit.strip()})" if METRICS[name].unit else "") for name in names))
    body = [
        (
            row["arm"] + (f" ({len(row['diverged'])} diverged)" if row["diverged"] else ""),
            *(cell(row, name) for name in names),
            row["published"] or "-",
        )
        for row in record["rows"]
    ]
    print_table(console, table("Ours beside the published numbers", (*columns, "published"), body))
    if record["differences"]:
        console.print("Different from the paper:")
        for sentence in record["differences"]:
            console.print(f"  {sentence}", markup=False)
    console.print(f"page  {record['page']}", soft_wrap=True, markup=False)


def _list(options: StudyOptions) -> int:
    from ...studies.run import costs

    rows = []
    console = messages()
    for study in STUDIES.values():
        least, paper = costs(study, _request(options, 0.0), lambda message: console.print(message, markup=False, soft_wrap=True))
        row = {
            "study": study.name,
            "question": study.question,
            "answers_to": study.answers_to,
            "least_seconds": least,
            "paper_seconds": paper,
        }
        if options.json:
            print_json(row)
        rows.append((study.name, study.question, study.answers_to, _cost(least), _cost(paper)))
    if not options.json:
        columns = ("study", "question", "answers to", "least time", "as in the paper, about")
        print_table(results(), table(f"Studies, with their cost on {options.data} on this machine", columns, rows))
    return 0


def _cost(value: float) -> str:
    if value >= 48 * 3600:
        return f"{value / 86_400:,.0f} days"
    return duration(value) if value >= 1 else "seconds"


class StudyProgress(Teller):
    """Tells what is left, run by run; with `as_json` each finished run is an object on standard output as well."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        super().__init__(console)
        self.as_json = as_json
        self.now = ""

    def _plan(self, event: dict[str, Any]) -> None:
        plan = event["plan"]
        steps = sorted({recipe.max_steps for _, recipe in plan.recipes})
        what = f"size {plan.rung}, {len(plan.networks)} networks, {len(plan.seeds)} seeds"
        if steps:
            what += f", {' to '.join(f'{s:,}' for s in dict.fromkeys((steps[0], steps[-1])))} steps on {plan.data}"
            what += f", about {duration(plan.estimated_seconds)} in all"
        self._say(f"{plan.study}: {what}")

    def _cached(self, event: dict[str, Any]) -> None:
        if event["finished"]:
            self._say(f"{event['finished']} of {event['total']} measurements are finished already")

    def _task(self, event: dict[str, Any]) -> None:
        self.now = f"[{event['number']}/{event['total']}] {event['arm']}, seed {event['seed']}"
        if event["measurement"] == "training":
            self._say(f"{self.now}: {event['network']}, {duration(event['seconds_left'])} left")

    def _step(self, event: dict[str, Any]) -> None:
        if time.perf_counter() - self.said > _SECONDS_BETWEEN_LINES:
            self.said = time.perf_counter()
            self._say(
                f"{self.now}: step {event['step']:,}/{event['steps']:,}, training error {100 * (1 - event['accuracy']):.1f} %"
            )

    def _task_done(self, event: dict[str, Any]) -> None:
        if self.as_json:
            print_json({**event, "event": "run"})
        if event["measurement"] == "training":
            metrics = event["metrics"]
            said = f"training error {100 * metrics['train_error']:.2f} %, test error {100 * metrics['test_error']:.2f} %"
            self._say(f"{self.now}: {event['diverged'] or said}")


COMMAND = Command("study", StudyOptions, _DESCRIPTION.format(names=", ".join(STUDIES)), run)
