"""The result of a study as one JSON object, from which tables, pages and plots are made.

study, title, question, claim, answers_to     what was asked
holds          true, false, or null for not resolved at this budget
answer         the same in a sentence, with the size of the effect
outcomes       the comparisons: statement, measured mean and 95 % interval, whether it holds
rows           the arms: network, mean, deviation and every seed's value of each metric, the published number beside them
differences    from the paper's experiment, sentence by sentence
plan           size, data, seeds, recipe of each arm
curves, units  for the plots, averaged over seeds
seconds        of training in all; environment: hardware and versions; command: what repeats it
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from . import published
from .budget import Plan
from .experiment import Arm, Study
from .metrics import METRICS
from .protocol import Results
from .settings import differences
from .statistics import deviation
from .verdict import Outcome, Values, Verdict, judge

RECORD_FORMAT = 1
MOST_IN_ANSWER = 3
"""Of more key comparisons than these the answer gives one with its size."""


def make_record(study: Study, plan: Plan, results: Results, environment: dict[str, Any], command: str) -> dict[str, Any]:
    """The record of a study whose every task has a result."""
    values = values_of(study, plan, results)
    verdict = judge(study, values, tuple(name for name, _ in plan.networks))
    rows = [_row(study.arm(name), network, values, results) for name, network in plan.networks]
    return {
        "format": RECORD_FORMAT,
        "study": study.name,
        "title": study.title,
        "question": study.question,
        "claim": study.claim,
        "answers_to": study.answers_to,
        "holds": verdict.holds,
        "answer": answer(study, verdict, rows),
        "outcomes": [_outcome(outcome) for outcome in verdict.outcomes],
        "metrics": list(study.metrics),
        "figures": list(study.figures),
        "rows": rows,
        "differences": differences(study, plan),
        "plan": {
            "rung": plan.rung,
            "data": plan.data,
            "seeds": list(plan.seeds),
            "estimated_seconds": plan.estimated_seconds,
            "recipes": {arm: recipe.model_dump(mode="json", exclude={"output", "seed"}) for arm, recipe in plan.recipes},
        },
        "curves": _curves(plan, results),
        "units": _units(plan, study, results),
        "seconds": sum(result["seconds"] or 0.0 for (_, kind, _), result in results.items() if kind == "training"),
        "environment": environment,
        "command": command,
    }


def values_of(study: Study, plan: Plan, results: Results) -> Values:
    """Metric -> arm -> seed -> value, of what each arm is measured by."""
    values: dict[str, dict[str, dict[int, float]]] = {}
    for name, _ in plan.networks:
        kind = study.arm(name).measurement
        for (arm, measurement, seed), result in results.items():
            if (arm, measurement) == (name, kind):
                for metric, value in result["metrics"].items():
                    values.setdefault(metric, {}).setdefault(name, {})[seed] = value
    return values


def _row(arm: Arm, network: str, values: Values, results: Results) -> dict[str, Any]:
    diverged = [result["diverged"] for (name, kind, _), result in results.items() if name == arm.name and kind == arm.measurement]
    measured = {metric: _measured(arms[arm.name]) for metric, arms in values.items() if arm.name in arms}
    row = {
        "arm": arm.name,
        "network": network,
        "series": arm.series,
        "order": arm.order,
        "diverged": [reason for reason in diverged if reason],
        "metrics": measured,
    }
    if arm.answers is None:
        return {**row, "published": None, "published_value": None, "published_source": None}
    return {
        **row,
        "published": published.describe(arm.answers),
        "published_value": published.value(arm.answers),
        "published_source": published.source(arm.answers),
    }


def _measured(by_seed: dict[int, float] | Any) -> dict[str, Any]:
    seen = [by_seed[seed] for seed in sorted(by_seed)]
    return {
        "mean": statistics.fmean(seen),
        "deviation": deviation(seen),
        "num": len(seen),
        "values": {str(s): by_seed[s] for s in by_seed},
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    comparison, measured = outcome.comparison, outcome.measured
    return {
        "statement": outcome.statement,
        "metric": comparison.metric,
        "arm": outcome.arm,
        "other": outcome.other,
        "form": comparison.form if comparison.other is not None else "value",
        "mean": _finite(measured.mean),
        "low": _finite(measured.low),
        "high": _finite(measured.high),
        "num": measured.num,
        "paired": measured.paired,
        "holds": outcome.holds,
        "key": comparison.key,
        "measured": measured_text(outcome),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def measured_text(outcome: Outcome) -> str:
    """The size of what was compared, with its interval: 52.31 points (95 % interval 50.10 to 54.52)."""
    comparison, measured = outcome.comparison, outcome.measured
    metric = METRICS[comparison.metric]
    if comparison.other is None:
        text, unit = metric.text, metric.unit
    elif comparison.form == "ratio":
        text, unit = _ratio, " times"
    else:
        text, unit = metric.text, metric.of_differences
    size = text(measured.mean) + unit
    if comparison.other is None and comparison.relation != "equal" and not metric.unit:
        size = f"{metric.label} {size}"
    if measured.low == measured.high:
        return size
    if not math.isfinite(measured.low):
        return f"{size} (one run: no interval)"
    return f"{size} (95 % interval {text(measured.low)} to {text(measured.high)})"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def answer(study: Study, verdict: Verdict, rows: list[dict[str, Any]]) -> str:
    """The first lines of a page: did it hold, by how much, how sure are we?"""
    key = verdict.key
    start = {True: "Yes, it held here.", False: "No, it did not hold here.", None: "Not resolved at this budget."}[verdict.holds]
    if not key:
        return f"{start} Nothing that the claim rests on was measured."
    shown = key if len(key) <= MOST_IN_ANSWER else [next((outcome for outcome in key if outcome.holds is verdict.holds), key[0])]
    lead = "; ".join(f"{outcome.statement}: {measured_text(outcome)}" for outcome in shown)
    lead = lead[0].upper() + lead[1:]
    counts = [
        (sum(o.holds is state for o in key), word)
        for state, word in ((True, "hold"), (False, "contradicted"), (None, "unresolved"))
    ]
    tally = ", ".join(f"{number} {word}" for number, word in counts if number)
    if study.exact:
        sure = "counted, so there is nothing to be unsure of"
    else:
        counted = sorted({measured["num"] for row in rows for measured in row["metrics"].values()})
        num = " to ".join(str(number) for number in dict.fromkeys((counted[0], counted[-1])))
        paired = ", paired" if counted[-1] > 1 and all(outcome.measured.paired for outcome in key) else ""
        sure = f"{num} {'seed' if counted[-1] == 1 else 'seeds'}{paired}"
    of = f" Of {len(key)} comparisons {tally}." if len(key) > 1 else ""
    return f"{start} {lead} ({sure}).{of}"


def _curves(plan: Plan, results: Results) -> dict[str, dict[str, list[list[float]]]]:
    """Each arm's training and test error over the steps: [step, mean, lowest, highest] over the seeds that came so far."""
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for name, _ in plan.networks:
        for kind in ("train", "test"):
            points: dict[float, list[float]] = {}
            for (arm, measurement, _), result in results.items():
                if arm == name and measurement == "training":
                    for step, error in result["curves"][kind]:
                        points.setdefault(step, []).append(error)
            if points:
                curves.setdefault(name, {})[kind] = [
                    [step, statistics.fmean(errors), min(errors), max(errors)] for step, errors in sorted(points.items())
                ]
    return curves


_OF_A_UNIT = ("response_std", "branch_ratio", "gradient", "shortcut_gradient", "shortcut_product")


def _units(plan: Plan, study: Study, results: Results) -> dict[str, list[dict[str, Any]]]:
    """Each arm's units, their measures averaged over the seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, _ in plan.networks:
        kind = study.arm(name).measurement
        reports = [
            result["units"]
            for (arm, measurement, _), result in results.items()
            if (arm, measurement) == (name, kind) and result.get("units")
        ]
        if reports:
            found[name] = [
                {"name": units[0]["name"], **{key: _mean([unit[key] for unit in units]) for key in _OF_A_UNIT}}
                for units in zip(*reports, strict=True)
            ]
    return found


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.fmean(present) if len(present) == len(values) else None
