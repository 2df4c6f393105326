"""Live progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..reports.tables import duration, giga, percent

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

    def __init__(self, console: Console) -> None:
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

    def _stopped(self, event: dict[str, Any]) -> None:
        self._say(event["message"])

    def _start(self, event: dict[str, Any]) -> None:
        self._say(
            f"{event['network']}, {giga(event['parameters'])} parameters; {event['training_images']:,} pictures to learn from, "
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
        measures = f"loss {event['loss']:.3f}  accuracy {percent(event['accuracy'], 1)}  {event['images_per_second']:,.0f} images/s"
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
        top5 = "" if event["top5"] is None else f", top-5 {percent(event['top5'])}"
        self._say(
            f"epoch {event['epoch']:g}: accuracy {percent(event['top1'])}{top5}, loss {event['loss']:.4f} on {event['num_images']:,} pictures, "
            f"{duration(event['time'])} of training"
        )
