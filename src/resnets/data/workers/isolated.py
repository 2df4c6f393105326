"""Work on hostile files in processes of their own: one that dies or hangs costs the file it was at, and nothing else.

The standard library's pools cannot do this: they break as a whole when a process dies, and do not say at what.
Importing this module loads no torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")

_CHUNK = 16
"""Jobs handed over at once, so that a process need not wait for the next one."""
_START_SECONDS = 300.0
"""Within which a process must have begun; it imports what the function needs."""


@dataclass(frozen=True)
class Lost:
    """What takes a result's place where the process did not survive the job."""

    reason: str


def outcomes(
    function: Callable[[Shared, Job], Result], shared: Shared, jobs: Iterable[Job], *, workers: int, seconds: float = 60.0
) -> Iterator[tuple[Job, Result | Lost]]:
    """`function(shared, job)` of every job, in the order in which they are done.

    Only a few jobs per process are taken from `jobs` ahead of their results, so that memory does not grow with their number.

    Args:
        function: of a module's top level.
        shared: goes to each process once.
        workers: processes; 0 for this one, in which a crash is a crash.
        seconds: that a job may take before its process is killed.

    Raises:
        ChildProcessError: the processes cannot be started.
    """
    if workers == 0:
        for job in jobs:
            yield job, _attempt(function, shared, job)
        return
    queue = iter(jobs)
    context = multiprocessing.get_context("forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        # What the function needs is imported once; a process that takes a dead one's place is there at once.
        context.set_forkserver_preload(["__main__", function.__module__])
    team: list[_Worker[Shared, Job, Result]] = []
    try:
        while True:
            while len(team) < workers and (chunk := list(islice(queue, _CHUNK))):
                team.append(_Worker(context, function, shared, chunk))
            if not team:
                return
            due = min(worker.since + worker.allowed(seconds) for worker in team)
            wait([worker.connection for worker in team], max(0.0, due - time.monotonic()))
            for worker in list(team):
                yield from worker.done()
                lost = worker.lost(seconds)
                if lost is not None:
                    team.remove(worker)
                    rest = worker.abandon()
                    yield rest[0], lost
                    queue = _chained(rest[1:], queue)
                elif worker.idle:
                    chunk = list(islice(queue, _CHUNK))
                    if chunk:
                        worker.give(chunk)
                    else:
                        team.remove(worker)
                        worker.dismiss()
    finally:
        for worker in team:
            worker.abandon()


def _chained(first: list[Job], rest: Iterator[Job]) -> Iterator[Job]:
    yield from first
    yield from rest


class _Worker(Generic[Shared, Job, Result]):
    """A process, what it has to do, and since when it has been at the first of it."""

    def __init__(
        self,
        context: multiprocessing.context.BaseContext,
        function: Callable[[Shared, Job], Result],
        shared: Shared,
        chunk: list[Job],
    ) -> None:
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, function, shared), daemon=True)  # type: ignore[attr-defined]
        self.process.start()
        other.close()
        self.ready, self.gone = False, False
        self.give(chunk)

    @property
    def idle(self) -> bool:
        return self.ready and not self.pending

    def allowed(self, seconds: float) -> float:
        """How long it may be silent."""
        return seconds if self.ready else _START_SECONDS

    def give(self, chunk: list[Job]) -> None:
        """Hands jobs over."""
        self.pending = deque(chunk)
        self.since = time.monotonic()
        try:
            self.connection.send(chunk)
        except OSError:
            self.gone = True

    def done(self) -> Iterator[tuple[Job, Result | Lost]]:
        """What it has finished since it was last asked."""
        try:
            while self.pending and self.connection.poll():
                result = self.connection.recv()
                self.since = time.monotonic()
                if not self.ready:
                    self.ready = True
                else:
                    yield self.pending.popleft(), result
        except (EOFError, OSError):
            self.gone = True

    def lost(self, seconds: float) -> Lost | None:
        """How its first job ended it, or None while it lives.

        Raises:
            ChildProcessError: it never began.
        """
        hangs = time.monotonic() - self.since > self.allowed(seconds)
        if not (self.gone or hangs) or not self.pending:
            return None
        if hangs:
            reason = f"the decoder did not finish within {seconds:g} s"
        else:
            self.process.join(10)
            reason = _ending(self.process.exitcode)
        if not self.ready:
            raise ChildProcessError(f"a process to check images in could not be started ({reason}); try with --workers 0")
        return Lost(reason)

    def abandon(self) -> list[Job]:
        """Ends the process at once; what it had not finished."""
        self.process.kill()
        self.dismiss()
        return list(self.pending)

    def dismiss(self) -> None:
        """Lets the process end, which it does when no requests come any more."""
        self.connection.close()
        self.process.join(10)


def _ending(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"the decoder ended its process with exit status {exitcode}"
    name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else f"signal {-exitcode}"
    memory = ", as when memory runs out" if name == "SIGKILL" else ""
    return f"the decoder's process died of {name}{memory}"


def _attempt(function: Callable[[Shared, Job], Result], shared: Shared, job: Job) -> Result | Lost:
    try:
        return function(shared, job)
    except Exception as error:  # whatever a decoder may raise on a hostile file; the file is reported with it
        return Lost(f"{type(error).__name__}: {error}")


def _serve(connection: Connection, function: Callable[[Shared, Job], Result], shared: Shared) -> None:
    """The life of a process: chunks of jobs come in, results go out, one by one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, which then closes the connection
    try:
        connection.send(True)
        # Decoders in C print their complaints; what they mean is in the findings.
        sys.stderr.flush()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        while True:
            for job in connection.recv():
                connection.send(_attempt(function, shared, job))
    except (EOFError, OSError):
        return
