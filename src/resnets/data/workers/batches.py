"""Batches made ahead of their use, row by row, by threads: what is asked for, what comes back, and who does it.

Legend: b rows of a batch. A maker's row is a flat run of bytes in the batch's buffer; what it means is the maker's business.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.machine import usable_cores
from ..errors import Unreadable
from ..sampling.order import StepPlan

AHEAD = 2
"""Batches in the making while one is in use."""
_PIECES = 4
"""Parts of a batch for each thread, so that none waits long for the slowest."""


class RowReader(Protocol):
    """Makes rows; from any thread, and from a forked process."""

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the row of image `index` to the start of `out` and says its height and width.

        Raises:
            Unreadable: there is no such row.
        """

    def name_of(self, index: int) -> str:
        """For messages."""


@dataclass(frozen=True)
class Request:
    """A batch to be made."""

    indices: NDArray[np.int64]
    """(b,)."""
    numbers: NDArray[np.float64] | None
    """(b, any), random numbers of each row, or None."""
    note: StepPlan | None = None
    """For whoever asked."""


@dataclass
class RawBatch:
    """A batch. Its memory is used again when the next one is asked for."""

    pixels: NDArray[np.uint8]
    """(b, capacity)."""
    shapes: NDArray[np.int64]
    """(b, 2): height and width of each row."""
    failures: list[tuple[int, str]] = field(default_factory=list)
    """Rows that could not be made, and why."""


class BatchProducer(Protocol):
    """Makes batches ahead of their use."""

    def batches(self, requests: Iterable[Request], capacity: int) -> Iterator[tuple[Request, RawBatch]]:
        """Every request with its batch, in order; `capacity` is the number of bytes that a row takes at most."""

    def close(self) -> None:
        """Ends what works in the background; a later request starts it again."""


def default_workers() -> int:
    """One for each core that this process may run on; processes that train together on one machine share its cores."""
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def make_rows(row_reader: RowReader, request: Request, rows: range, made: RawBatch) -> None:
    """Makes some rows of a batch."""
    indices = request.indices[rows.start : rows.stop : rows.step].tolist()
    numbers = None if request.numbers is None else request.numbers[rows.start : rows.stop : rows.step].tolist()
    for place, row in enumerate(rows):
        try:
            made.shapes[row] = row_reader.make(indices[place], None if numbers is None else numbers[place], made.pixels[row])
        except Unreadable as error:
            made.failures.append((row, str(error)))


class ThreadedProducer:
    """Makes batches in threads of this process, which run at the same time where decoding and resizing let go of Python's lock.

    Args:
        maker: of rows.
        workers: threads; 0 for none, each batch then being made when it is asked for.
    """

    def __init__(self, row_reader: RowReader, workers: int) -> None:
        self.row_reader, self.workers = row_reader, workers
        self._threads: ThreadPoolExecutor | None = None
        self._free: list[NDArray[np.uint8]] = []

    def batches(self, requests: Iterable[Request], capacity: int) -> Iterator[tuple[Request, RawBatch]]:
        """Every request with its batch, in order."""
        waiting: deque[tuple[Request, NDArray[np.uint8], RawBatch, list[Future[None]]]] = deque()
        try:
            for request in requests:
                waiting.append(self._begun(request, capacity))
                if len(waiting) > (AHEAD if self.workers else 0):
                    yield self._ended(*waiting[0])
                    self._free.append(waiting.popleft()[1])
            while waiting:
                yield self._ended(*waiting[0])
                self._free.append(waiting.popleft()[1])
        finally:
            for _, buffer, _, futures in waiting:  # the caller stopped early; nothing may write to a buffer that is used again
                for future in futures:
                    future.cancel()
                for future in futures:
                    if not future.cancelled():
                        future.exception()
                self._free.append(buffer)
            del self._free[AHEAD + 1 :]

    def close(self) -> None:
        """Ends the threads and gives back the memory."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self._free.clear()

    def _begun(self, request: Request, capacity: int) -> tuple[Request, NDArray[np.uint8], RawBatch, list[Future[None]]]:
        count = len(request.indices)
        buffer = self._free.pop() if self._free else np.empty(0, np.uint8)
        if len(buffer) < count * capacity:
            buffer = np.empty(count * capacity, np.uint8)
        made = RawBatch(buffer[: count * capacity].reshape(count, capacity), np.zeros((count, 2), np.int64))
        if not self.workers:
            make_rows(self.row_reader, request, range(count), made)
            return request, buffer, made, []
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="images")
        step = math.ceil(count / (self.workers * _PIECES))
        pieces = (range(start, min(start + step, count)) for start in range(0, count, step))
        return request, buffer, made, [self._threads.submit(make_rows, self.row_reader, request, rows, made) for rows in pieces]

    def _ended(
        self, request: Request, buffer: NDArray[np.uint8], made: RawBatch, futures: list[Future[None]]
    ) -> tuple[Request, RawBatch]:
        for future in futures:
            future.result()
        made.failures.sort()
        return request, made
