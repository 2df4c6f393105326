"""Live progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.console import PlainConsole
from ..training.choices import Reason
from ..training.task import Task
from .tables import duration, giga, percent

_SECONDS_BETWEEN_LINES = 5.0


class Teller:
    """Listens to events and shows each by the method that has its name; of those without one nothing is said."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.said = time.perf_counter()

    def __call__(self, event: dict[str, Any]) -> None:
        show = getattr(self, f"_{event['event'].replace(' ', '_')}", None)
        if show is not None:
            show(event)

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False)

    def _message(self, event: dict[str, Any]) -> None:
        self._say(event["message"])


class TrainingProgress(Teller):
    """Listens to a run's events and shows them."""

    def __init__(self, console: Console | None = None) -> None:
        """On standard error, unless another console is given."""
        console = PlainConsole(stderr=True) if console is None else console
        self.why = ""  # which task it is and why, said with the first event
        super().__init__(console)
        self.bar = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[measures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=None, epoch="", measures="", start=False)

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def choices(self, reasons: Iterable[Reason], why: tuple[Task[Any, Any], str]) -> None:
        """Says which task it is and why, and what was chosen for a user's data."""
        task, because = why
        self._say(f"task: {task.name} ({because})")
        rows = [(f"--{reason.option} {reason.value}", reason.because) for reason in reasons]
        if rows:
            self._say("chosen for these images and this machine; each is an option:")
        for option, reason in rows:
            self._say(f"  {option:<40} {reason}")

    def _stopped(self, event: dict[str, Any]) -> None:
        self._say(event["message"])

    def _start(self, event: dict[str, Any]) -> None:
        if self.why:
            self._say(f"task: {self.why}")
        self._say(
            f"{event['network']}, {giga(event['parameters'])} parameters; {event['training_images']:,} images to learn from, "
            f"evaluated on {event['evaluated_on']}; {event['device']}, {event['precision']}; run directory {event['directory']}"
        )
        if left_out := event.get("left_out"):
            excluded, unreadable, ignored = (left_out[key] for key in ("excluded", "unreadable", "ignored"))
            self._say(f"left out: {excluded:,} excluded by list, {unreadable:,} unreadable; {ignored:,} other files ignored")
        self.epochs = event["epochs"]
        self.bar.start_task(self.task)
        self.bar.update(self.task, total=event["steps"])

    def _progress(self, event: dict[str, Any]) -> None:
        self.bar.update(self.task, completed=event["step"], epoch=f"epoch {event['epoch']:.2f}/{self.epochs:g}")

    def _step(self, event: dict[str, Any]) -> None:
        measures = "  ".join(_measure(name, value) for name, value in event.items() if name not in _NOT_MEASURED)
        self.bar.update(self.task, measures=measures)
        self._progress(event)
        due = event["step"] == event["steps"] or time.perf_counter() - self.said > _SECONDS_BETWEEN_LINES
        if not self.console.is_terminal and due:
            self.said = time.perf_counter()
            left = event["time"] / event["step"] * (event["steps"] - event["step"])
            self._say(
                f"epoch {event['epoch']:.2f}/{self.epochs:g}  step {event['step']:,}/{event['steps']:,}  {measures}  {duration(left)} left"
            )

    def _evaluation(self, event: dict[str, Any]) -> None:
        found = [f"{_NAMES[name]} {percent(event[name])}" for name in _NAMES if event.get(name) is not None]
        if "loss" in event:
            found.append(f"loss {event['loss']:.4f}")
        self._say(
            f"epoch {event['epoch']:g}: {', '.join(found)} on {event['num_images']:,} images, {duration(event['time'])} of training"
        )


_NAMES = {
    "top1": "accuracy", "top5": "top-5", "ap": "AP", "ap50": "AP at IoU 0.5", "mean_iou": "mean IoU", "pixel_accuracy": "pixels right",
}  # fmt: skip
"""How people call what an evaluation measures."""
_NOT_MEASURED = ("event", "step", "steps", "epoch", "time", "learning_rate")


def _measure(name: str, value: float) -> str:
    """A measure of a step, in few words."""
    if name == "images_per_second":
        return f"{value:,.0f} images/s" if value >= 10 else f"{value:.1f} images/s"
    words = name.replace("_", " ")
    return f"{words} {percent(value, 1)}" if name.endswith("accuracy") else f"{words} {value:.3f}"
