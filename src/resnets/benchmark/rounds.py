"""The rounds of `resnets benchmark`: processes that wait for their turn, and what they measured.

Legend: N images, K classes.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from .contestants import AGAINST, Contestant, Mode
from .files import Subject

_LONGEST = 4.0
"""Seconds of a call beyond which no larger batch is tried."""
_AS_FAST = 0.98
"""A larger batch has to be faster by more than this to be worth it."""
_SEED = 0


@dataclass(frozen=True)
class Request:
    """What is measured, and how."""

    modes: tuple[Mode, ...] = ("predict",)
    precisions: tuple[str, ...] = ("fp32", "bf16")
    against: tuple[str, ...] = AGAINST
    batches: tuple[int, ...] = ()
    """Images per call; empty for 1 and the fastest that is found."""
    most: int = 32
    """Images beyond which no faster batch is looked for."""
    seconds: float = 2.0
    """At least so long is each row timed, over all rounds together."""
    rounds: int = 5
    threads: int = 1
    device: str = "cpu"
    compiled: bool = True
    graphs: bool = False
    quantized: tuple[Path, ...] = ()
    """Exported INT8 files of the network, measured beside it."""
    images: tuple[Path, ...] = ()
    """Files and folders of images to work on and to compare answers on; empty for parts of one photograph."""


@dataclass
class Row:
    """One contestant at one batch."""

    contestant: Contestant
    batch: int
    peak_memory: int
    """Bytes: of the whole process, or of torch's allocator on a GPU."""
    libraries_memory: int
    """Bytes of the process when its libraries were imported, before there was a network; 0 on a GPU."""
    rounds: list[list[float]] = field(default_factory=list)
    """Seconds of each call, round by round."""

    @property
    def latency(self) -> float:
        """Median seconds of a call."""
        return statistics.median(self._calls())

    def latency_at(self, share: float) -> float:
        """Seconds that this share of the calls did not take longer than (nearest rank)."""
        calls = sorted(self._calls())
        return calls[max(0, math.ceil(share * len(calls)) - 1)]

    @property
    def medians(self) -> list[float]:
        """Of each round."""
        return [statistics.median(seconds) for seconds in self.rounds]

    def _calls(self) -> list[float]:
        return [second for seconds in self.rounds for second in seconds]


@dataclass(frozen=True)
class Agreement:
    """How far an engine says what the baseline says, in fp32, of the same images."""

    top1: float
    """Share of the images with the same largest logit."""
    error: float
    """Root mean square difference of the logits, as a share of their standard deviation over the classes."""


def agreement(answers: NDArray[Any], reference: NDArray[Any]) -> Agreement:
    """Compares logits (N, K) with those of the baseline."""
    same = answers.argmax(1) == reference.argmax(1)
    spread = float((reference - reference.mean(1, keepdims=True)).std()) or 1.0
    return Agreement(float(same.mean()), float(numpy.sqrt(numpy.square(answers - reference).mean())) / spread)


class Failed(Exception):
    """A contestant could not do what it was told."""


class Process:
    """A contestant's process."""

    def __init__(self, contestant: Contestant, subject: Subject, request: Request, folder: Path) -> None:
        self.contestant = contestant
        number = len(list(folder.glob("*.log")))
        self.log = folder / f"{number:03}-{contestant.engine}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "resnets.benchmark.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(request.threads)},
            )
        self.opening = {
            "contestant": contestant.as_json(),
            "folder": str(folder),
            "threads": request.threads,
            "device": request.device,
            "peers": dict(subject.peers),
        }

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Gives an order and waits for the answer.

        Raises:
            Failed: the answer is an error, or there is none because the process has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = self.log.read_text(errors="replace").strip().splitlines()
            raise Failed(f"its process ended with status {self.process.wait()}{f': {said[-1]}' if said else ''}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(str(answer["error"]))
        return answer

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()


class Rounds:
    """All contestants' processes, from their start to their last turn.

    Attributes:
        notes: who could not take part or go on, and why.
    """

    def __init__(self, subject: Subject, request: Request, folder: Path, listen: Callable[[str], None]) -> None:
        self.subject, self.request, self.folder, self.listen = subject, request, folder, listen
        self.notes: list[str] = []
        self.processes: dict[Contestant, Process] = {}
        self.answers: dict[Contestant, NDArray[Any]] = {}

    def measured(self, taking_part: Sequence[Contestant], between: Callable[[], None]) -> list[Row]:
        """Warms all up, then times the rounds; those that fail are left out with a note. `between` is called before each round."""
        rows: list[Row] = []
        for contestant in taking_part:
            self.listen(f"{contestant.engine}, {contestant.mode}, {contestant.precision}: warm-up")
            try:
                rows += self._warmed(contestant, rows)
            except Failed as failure:
                self._leave_out(contestant, failure)
        random_order = random.Random(_SEED)
        for number in range(self.request.rounds):
            self.listen(f"round {number + 1} of {self.request.rounds}")
            between()
            for row in random_order.sample(rows, len(rows)):
                if row.contestant not in self.processes:
                    continue
                try:
                    process = self.processes[row.contestant]
                    row.rounds.append(
                        process.ask("time", batch=row.batch, seconds=self.request.seconds / self.request.rounds)["seconds"]
                    )
                except Failed as failure:
                    self._leave_out(row.contestant, failure)
        return [row for row in rows if row.contestant in self.processes]

    def agreements(self) -> dict[Contestant, Agreement]:
        """Each engine's answers against the baseline's."""
        reference = next((answers for contestant, answers in self.answers.items() if contestant.plain), None)
        if reference is None:
            return {}
        return {contestant: agreement(answers, reference) for contestant, answers in self.answers.items()}

    def close(self) -> None:
        """Ends all processes."""
        for process in self.processes.values():
            process.close()
        self.processes.clear()

    def _leave_out(self, contestant: Contestant, failure: Failed) -> None:
        note = f"{contestant.engine} ({contestant.mode}, {contestant.precision}) is left out: {failure}"
        self.notes.append(note)
        process = self.processes.pop(contestant, None)
        if process is not None:
            process.close()

    def _warmed(self, contestant: Contestant, others: Iterable[Row]) -> list[Row]:
        process = self.processes[contestant] = Process(contestant, self.subject, self.request, self.folder)
        process.ask("open", **process.opening)
        speeds: dict[int, float] = {}
        rows: dict[int, Row] = {}
        for batch in self._batches(contestant, others):
            warm = process.ask("warm", batch=batch)
            speeds[batch] = batch / warm["seconds"]
            rows[batch] = Row(contestant, batch, warm["peak_memory_bytes"], warm["libraries_memory_bytes"])
            slower = speeds[batch] < 0.95 * max(speeds.values())
            if self._searches(contestant) and (slower or 2 * warm["seconds"] > _LONGEST):
                break
        if self._searches(contestant):
            most = max(speeds.values())
            fastest = min(batch for batch, speed in speeds.items() if speed >= _AS_FAST * most)
            rows = {batch: row for batch, row in rows.items() if batch == fastest or (batch == 1 and contestant.mode == "predict")}
        if contestant.mode == "predict":
            self.answers[contestant] = numpy.load(process.ask("answers", batch=max(rows))["path"])
        return list(rows.values())

    def _searches(self, contestant: Contestant) -> bool:
        """Whether the contestant's fastest batch is still to be found; compiling for many would take minutes."""
        return not self.request.batches and not contestant.compiled

    def _batches(self, contestant: Contestant, others: Iterable[Row]) -> list[int]:
        """What it is tried at, from the smallest on: a batch norm of a map of one pixel cannot learn from one image."""
        least = 2 if contestant.mode == "train" else 1
        if self.request.batches:
            return sorted({max(least, batch) for batch in self.request.batches})
        if not contestant.compiled:
            return [2**power for power in range(least - 1, 1 + int(math.log2(self.request.most)))]
        # Those of the same module, uncompiled.
        alike = {
            row.batch
            for row in others
            if (
                row.contestant.package,
                row.contestant.mode,
                row.contestant.precision,
                row.contestant.compiled,
                row.contestant.plain,
            )
            == (contestant.package, contestant.mode, contestant.precision, False, False)
            and row.contestant.runtime == "torch"
        }
        return sorted(alike) or [self.request.most]
