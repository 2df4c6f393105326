"""The process of one contestant of `resnets benchmark`: it opens its engine, then times what it is told, when it is told.

It reads one JSON object per line on standard input and answers each with one on standard output; what libraries print goes to
standard error. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from ..core.environment import keep_large_buffers
from ..core.text import to_json
from .contestants import IMAGES, Contestant
from .jobs import Job, open_job

_WARM_CALLS = 3
_WARM_SECONDS = 0.2


class Worker:
    """One contestant at work."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.contestant = Contestant(**order["contestant"])
        self.folder, self.device = Path(order["folder"]), str(order["device"])
        if self.contestant.package == "resnets" and self.contestant.mode == "train":
            keep_large_buffers()  # as `resnets train` does
        _load_libraries(self.contestant)
        self.libraries = 0 if self.device.startswith("cuda") else resident("VmRSS")
        self.job: Job = open_job(self.contestant, self.folder, threads=order["threads"], device=self.device, peers=order["peers"])
        self.images = numpy.load(self.folder / IMAGES)
        self.batches: dict[int, Any] = {}

    def warm(self, batch: int) -> dict[str, Any]:
        """Untimed calls, the last ones of which give a first estimate of the speed; compiles, plans and fills caches. Then the peak memory."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
        self.batches[batch] = self.job.placed(self._rows(0, batch))
        seconds: list[float] = []
        while len(seconds) < _WARM_CALLS or sum(seconds[1:]) < _WARM_SECONDS:
            seconds.append(self._call(batch))
        answer = {"seconds": min(seconds[1:]), "peak_memory_bytes": self._peak(), "libraries_memory_bytes": self.libraries}
        self._hand_back()
        return answer

    def time(self, batch: int, seconds: float) -> dict[str, Any]:
        """Seconds of each call, after one that is not counted: others have used the caches since."""
        self._call(batch)
        taken: list[float] = []
        while not taken or sum(taken) < seconds:
            taken.append(self._call(batch))
        self._hand_back()
        return {"seconds": taken}

    def answers(self, batch: int) -> dict[str, Any]:
        """Writes the logits of all images to a file, computed in batches of a size that is warm."""
        count = len(self.images)
        parts = [self.job.logits(self.job.placed(self._rows(start, batch))) for start in range(0, count, batch)]
        path = self.folder / f"logits-{os.getpid()}.npy"
        numpy.save(path, numpy.concatenate(parts)[:count])
        return {"path": str(path)}

    def _rows(self, start: int, count: int) -> NDArray[numpy.float32]:
        """`count` images from `start` on, after the last again the first."""
        rows: NDArray[numpy.float32] = numpy.ascontiguousarray(self.images[numpy.arange(start, start + count) % len(self.images)])
        return rows

    def _call(self, batch: int) -> float:
        started = time.perf_counter()
        self.job.run(self.batches[batch])
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter() - started

    def _hand_back(self) -> None:
        """The others on a GPU need its memory in their turns."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def _peak(self) -> int:
        if self.device.startswith("cuda"):
            import torch

            return int(torch.cuda.max_memory_allocated(self.device))
        return resident("VmHWM")


def _load_libraries(contestant: Contestant) -> None:
    """What the engine imports anyway, so that the memory of the libraries can be told from that of the network."""
    if contestant.runtime == "torch" or contestant.package == "resnets":
        import_module("torch")
    if contestant.package == "resnets":
        import_module("resnets.deployment.engines.opening")
    if contestant.runtime != "torch":
        import_module(contestant.runtime)
    if contestant.package != "resnets" and contestant.runtime == "torch":
        import_module(contestant.package)


def resident(what: Literal["VmRSS", "VmHWM"], status: Path = Path("/proc/self/status")) -> int:
    """Bytes of this process in memory, now or at most.

    What `getrusage` says on Linux also counts the process's parent, of which it was a copy before its program started. It is the
    answer to both where there is no /proc.
    """
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
    from ..core.machine import process_peak

    return process_peak()


def main() -> None:
    """Answers orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    worker: Worker | None = None
    for line in sys.stdin:
        order = json.loads(line)
        kind = order.pop("do")
        try:
            if kind == "open":
                worker, answer = Worker(order), {}
            else:
                assert worker is not None
                answer = getattr(worker, kind)(**order)
        except Exception as error:  # whatever a library raises is that contestant's result
            said = str(error).strip().splitlines()
            answer = {"error": f"{type(error).__name__}: {said[0] if said else 'without a message'}"}
        answers.write(to_json(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
