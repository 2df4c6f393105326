"""Batches made ahead of their use by processes, which may die: of an image that crashes its decoder, or for want of memory.

Legend: b rows of a batch. Each process writes its rows straight into memory that it shares with this one; through its pipe go only
what to do and what went wrong. Every process has a pipe of its own, since one that is killed could take a shared queue's lock with it.
A process that dies is started again and given its rows again, which come out the same. An image at which processes die twice is
named as unreadable.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import numpy as np
from numpy.typing import NDArray

from ..errors import Unreadable
from .batches import AHEAD, RawBatch, Request, RowReader

SLOTS = AHEAD + 1
"""Batches that the shared memory holds."""
MOST_DEATHS = 3
"""Deaths within one pass over the images, other than those that one image explains, at which it is given up."""
_FATAL = 2
"""Deaths at one image that make it the cause."""
_LOOK_UP = 2.0
"""Seconds between a waiting process's glances at whether its parent is still there."""
_HEAD = 1 << 14
"""Bytes at the start of the shared memory, in which each process notes the image that it is at."""


def processes_work() -> bool:
    """Whether worker processes are to be had: where forking is safe. Elsewhere threads do the work."""
    return sys.platform == "linux"


@dataclass(frozen=True)
class _Task:
    """Some rows of a batch, for one process."""

    ticket: int
    start: int
    """Where the batch begins in the shared memory."""
    capacity: int
    rows: NDArray[np.int64]
    indices: NDArray[np.int64]
    numbers: NDArray[np.float64] | None

    def without(self, index: int) -> _Task:
        """The same rows but those of one image."""
        kept = self.indices != index
        numbers = None if self.numbers is None else self.numbers[kept]
        return _Task(self.ticket, self.start, self.capacity, self.rows[kept], self.indices[kept], numbers)


@dataclass
class _Batch:
    """A batch in the making."""

    request: Request
    slot: int
    made: RawBatch
    missing: set[int] = field(default_factory=set)
    """Tickets of the tasks that are not done."""


@dataclass
class _Worker:
    place: int
    process: BaseProcess
    pipe: Connection
    tasks: deque[_Task] = field(default_factory=deque)
    """Given and not answered, in order; the first is being worked on."""


class ProcessProducer:
    """Makes batches in forked processes.

    Args:
        maker: of rows; the processes get it as it is when they start.
        workers: processes, at least 1.
        report: told of a process that died.
    """

    def __init__(self, row_reader: RowReader, workers: int, report: Callable[[str], None]) -> None:
        self.row_reader, self.num_workers, self.report = row_reader, workers, report
        self._workers: list[_Worker] = []
        self._memory: mmap.mmap | None = None
        self._slot_bytes = 0
        self._tickets = 0
        self._deaths: Counter[int] = Counter()
        self._fatal: dict[int, str] = {}
        """Images at which processes died, and how."""
        self._closing: weakref.finalize[..., ProcessProducer] | None = None

    def batches(self, requests: Iterable[Request], capacity: int) -> Iterator[tuple[Request, RawBatch]]:
        """Every request with its batch, in order. No batch may have more rows than the first.

        Raises:
            ChildProcessError: processes die again and again.
            RuntimeError: a defect in the maker, with its traceback.
        """
        self._deaths.clear()
        waiting: deque[_Batch] = deque()
        free = deque(range(SLOTS))
        try:
            for request in requests:
                if not waiting:
                    self._ready(len(request.indices) * capacity)
                waiting.append(self._begun(request, free.popleft(), capacity))
                if len(waiting) == SLOTS:
                    yield self._ended(waiting)
                    free.append(waiting.popleft().slot)
            while waiting:
                yield self._ended(waiting)
                free.append(waiting.popleft().slot)
        except (ChildProcessError, RuntimeError):
            self.close()
            raise
        finally:
            # The caller may stop early, and nothing may write to a slot that is used again.
            while any(worker.tasks for worker in self._workers):
                self._listen(waiting)

    def close(self) -> None:
        """Ends the processes and gives back the memory."""
        if self._closing is not None:
            self._closing()
        self._workers, self._memory, self._slot_bytes = [], None, 0

    def _ready(self, slot_bytes: int) -> None:
        """Makes sure that processes run and that batches fit into their memory."""
        if self._workers and slot_bytes <= self._slot_bytes:
            return
        self.close()
        # Not a file in /dev/shm, which is small in many containers.
        self._memory, self._slot_bytes = mmap.mmap(-1, _HEAD + SLOTS * slot_bytes), slot_bytes
        for place in range(min(self.num_workers, _HEAD // 8)):
            self._workers.append(self._started(place))
        self._closing = weakref.finalize(self, _end, self._workers, os.getpid())

    def _started(self, place: int) -> _Worker:
        assert self._memory is not None
        _progress(self._memory)[place] = -1
        forking = multiprocessing.get_context("fork")
        ours, theirs = forking.Pipe()
        arguments = (self.row_reader, theirs, self._memory, place, os.getpid())
        process = forking.Process(target=_work, args=arguments, daemon=True, name=f"images-{place}")
        with warnings.catch_warnings():
            # Python warns of forking beside threads, whose locks the child would find taken: it takes none that threads here hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        return _Worker(place, process, ours)

    def _begun(self, request: Request, slot: int, capacity: int) -> _Batch:
        assert self._memory is not None
        count = len(request.indices)
        start = _HEAD + slot * self._slot_bytes
        pixels = np.frombuffer(self._memory, np.uint8, count * capacity, start).reshape(count, capacity)
        batch = _Batch(request, slot, RawBatch(pixels, np.zeros((count, 2), np.int64)))
        for worker in self._workers:
            rows = np.arange(worker.place, count, len(self._workers))
            if not len(rows):
                continue
            self._tickets += 1
            batch.missing.add(self._tickets)
            numbers = None if request.numbers is None else request.numbers[rows]
            task = _Task(self._tickets, start, capacity, rows, request.indices[rows], numbers)
            worker.tasks.append(task)
            self._send(worker, task)
        return batch

    def _send(self, worker: _Worker, task: _Task) -> None:
        for index in self._fatal:
            task = task.without(index)
        try:
            worker.pipe.send(task)
        except OSError:
            return  # it is dead; whoever listens next finds out and sends all its tasks again, to another

    def _ended(self, waiting: deque[_Batch]) -> tuple[Request, RawBatch]:
        batch = waiting[0]
        while batch.missing:
            self._listen(waiting)
        named = {row for row, _ in batch.made.failures}
        for index, reason in self._fatal.items():
            rows = np.flatnonzero(batch.request.indices == index).tolist()
            batch.made.failures += [(row, reason) for row in rows if row not in named]
        batch.made.failures.sort()
        return batch.request, batch.made

    def _listen(self, waiting: deque[_Batch]) -> None:
        """Waits until some process answers or dies, and takes note of it."""
        busy = [worker for worker in self._workers if worker.tasks]
        heard = wait([thing for worker in busy for thing in (worker.pipe, worker.process.sentinel)])
        for worker in busy:
            if worker.pipe not in heard and worker.process.sentinel not in heard:
                continue
            try:
                # A process that has died may have answered before.
                while worker.tasks and worker.pipe.poll():
                    self._note(worker, worker.pipe.recv(), waiting)
                if worker.process.is_alive() or not worker.tasks:
                    continue
            except (EOFError, OSError):
                pass  # an answer that breaks off is a death too
            self._replace(worker)

    def _note(
        self,
        worker: _Worker,
        answer: tuple[int, NDArray[np.int64], NDArray[np.int64], list[tuple[int, str]], str | None],
        waiting: deque[_Batch],
    ) -> None:
        ticket, rows, shapes, failures, defect = answer
        worker.tasks.popleft()
        if defect is not None:
            raise RuntimeError(f"a worker process failed:\n{defect}")
        for batch in waiting:
            if ticket in batch.missing:
                batch.missing.remove(ticket)
                batch.made.shapes[rows] = shapes
                batch.made.failures += failures

    def _replace(self, worker: _Worker) -> None:
        """Starts a process in the place of a dead one and gives it the same rows."""
        assert self._memory is not None
        worker.pipe.close()
        worker.process.join()
        how = _manner(worker.process.exitcode)
        index = int(_progress(self._memory)[worker.place])
        name = self.row_reader.name_of(index) if index >= 0 else None
        self._deaths[index] += 1
        if name is not None and self._deaths[index] == _FATAL:
            del self._deaths[index]
            self._fatal[index] = f"makes the process that decodes it die ({how})"
        elif self._deaths.total() >= MOST_DEATHS:
            raise ChildProcessError(
                f"processes that decode images died {self._deaths.total()} times, the last one {how}"
                f"{f' at {name}' if name else ''}; if the memory is short, lower --workers or --batch-size"
            )
        else:
            at = f" at {name}" if name else ""
            self.report(f"a process that decodes images died{at} ({how}); another one makes the same rows")
        fresh = self._started(worker.place)
        worker.process, worker.pipe = fresh.process, fresh.pipe
        for task in worker.tasks:
            self._send(worker, task)


def _work(row_reader: RowReader, pipe: Connection, memory: mmap.mmap, place: int, parent: int) -> None:
    """The life of a worker process."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    buffer, progress = np.frombuffer(memory, np.uint8), _progress(memory)
    while True:
        while not pipe.poll(_LOOK_UP):
            if os.getppid() != parent:
                return
        try:
            task: _Task = pipe.recv()
        except (EOFError, OSError):
            return
        shapes, failures, defect = np.zeros((len(task.rows), 2), np.int64), [], None
        try:
            numbers = None if task.numbers is None else task.numbers.tolist()
            for place_in_task, (row, index) in enumerate(zip(task.rows.tolist(), task.indices.tolist(), strict=True)):
                progress[place] = index
                begin = task.start + row * task.capacity
                try:
                    out = buffer[begin : begin + task.capacity]
                    shapes[place_in_task] = row_reader.make(index, None if numbers is None else numbers[place_in_task], out)
                except Unreadable as error:
                    failures.append((row, str(error)))
        except Exception:  # a defect of ours, which the parent is to show
            defect = traceback.format_exc()
        progress[place] = -1
        try:
            pipe.send((task.ticket, task.rows, shapes, failures, defect))
        except OSError:
            return


def _progress(memory: mmap.mmap) -> NDArray[np.int64]:
    return np.frombuffer(memory, np.int64, _HEAD // 8)


def _manner(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit status {code}"


def _end(workers: list[_Worker], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked process, whose copy of the loader was collected, has no say over its siblings
    for worker in workers:
        worker.process.kill()  # it holds nothing that could be lost
    for worker in workers:
        worker.process.join()
        worker.pipe.close()
