"""Early stopping: whether evaluations still improve. Its state is two plain values of the run's position, so that it resumes exactly."""

from __future__ import annotations

import math

from .checkpoint import Position
from .session import Result
from .settings import EarlyStopping


def update_patience(settings: EarlyStopping, position: Position, result: Result) -> None:
    """Takes one more evaluation into account. A value that is not a number is no improvement."""
    if not settings.patience:
        return  # nobody asks, and what a detector or a segmenter found has no such metric
    value = result.headline()[settings.metric]
    before = position.improved_to
    gain = math.inf if before is None else value - before if settings.metric == "top1" else before - value
    if gain > settings.min_delta and not math.isnan(value):
        position.improved_to, position.stale = value, 0
    else:
        position.stale += 1


def end_of_patience(settings: EarlyStopping, position: Position) -> str | None:
    """Why the run ends now, as a sentence; None where it goes on."""
    if not settings.patience or position.stale < settings.patience:
        return None
    what, verb = ("top-1 accuracy", "risen") if settings.metric == "top1" else ("loss", "fallen")
    best = "never a number" if position.improved_to is None else f"{position.improved_to:.4f} at best"
    margin = f" by more than {settings.min_delta:g}" if settings.min_delta else ""
    last = "the last evaluation" if settings.patience == 1 else f"the last {settings.patience} evaluations"
    return f"stopped early: the {what}, {best}, has not {verb}{margin} in {last}; best.safetensors holds the best network"
