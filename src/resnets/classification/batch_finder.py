"""The largest batch whose training step fits in memory, and the one with which most images per second are trained.

On a GPU batches are tried, twice as many images each time, until memory runs out, and the gap that is left is bisected. On a CPU running
out of memory would end the process, or worse the machine's others: there the peak of small batches is measured, and the line through them
continued to a share of the free memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from ..core.errors import UserError
from ..core.machine import free_memory, process_peak
from ..training.engine.objective import Inputs
from .learning_rate_finder import unchanged
from .session import ClassificationSession

_VISIBLE = 32 << 20
"""Bytes by which a doubled batch has to raise the process's peak so that the rise is the batch's."""
_LONGEST = 4.0
"""Seconds that a step on a CPU may be expected to take, four times as many where nothing is known of the memory yet."""


@dataclass(frozen=True)
class Trial:
    """A batch that was trained."""

    batch_size: int
    images_per_second: float
    peak_memory: int
    """Bytes: of the GPU's allocator, or of the whole process on a CPU (the largest so far)."""


@dataclass(frozen=True)
class BatchSearch:
    """What fits, and how fast."""

    trials: tuple[Trial, ...]
    largest: int
    """Images of the largest batch that fits, or by the line through the trials would."""
    tried: bool
    """Whether it was tried, or is the end of a line."""
    bounded: bool
    """Whether memory is what bounds it, not the limit of the search."""
    memory: int
    """Bytes up to which batches were to go."""

    @property
    def fastest(self) -> Trial:
        """The trial with the most images per second; the smaller of those within 2 % of it."""
        most = max(trial.images_per_second for trial in self.trials)
        return next(trial for trial in sorted(self.trials, key=lambda t: t.batch_size) if trial.images_per_second >= 0.98 * most)


def find_batch_size(
    session: ClassificationSession, *, share: float = 0.8, most: int = 8192, listen: Callable[[Trial], None] = lambda trial: None
) -> BatchSearch:
    """Tries batches of random images of the size that training sees, without accumulation, and puts the session back as it was.

    Args:
        share: of the memory that is free now, on a CPU.
        most: images beyond which no batch is looked for.
        listen: told each trial.

    Raises:
        ValueError: not even a batch of two fits, or a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise UserError(f"the share of the free memory must be above 0 and up to 1, not at {share:g}")
    if most < 2:
        raise UserError(f"a batch norm needs two images or more, so a search up to {most} finds nothing")
    with unchanged(session):
        accumulation, session.step.accumulation = session.step.accumulation, 1
        session.network.train()
        session.learners.at(1.0)
        shape = tuple(next(iter(session.training.epoch(0))).images.shape[1:])
        try:
            search = _on_gpu if session.device.type == "cuda" else _on_cpu
            return search(lambda size: _try(session, shape, size, listen), share, most)
        finally:
            session.step.accumulation = accumulation


def _on_gpu(attempt: Callable[[int], Trial | None], share: float, most: int) -> BatchSearch:
    trials: list[Trial] = []

    def fits(size: int) -> bool:
        trial = attempt(size)
        trials.extend([trial] if trial is not None else [])
        return trial is not None

    largest, failed = largest_that_fits(fits, most)
    return BatchSearch(tuple(trials), largest, True, failed is not None, int(torch.cuda.mem_get_info()[1]))


def largest_that_fits(fits: Callable[[int], bool], most: int) -> tuple[int, int | None]:
    """The largest size up to `most` that fits, by doubling from 2 and then bisecting to within an eighth; and the least that did not.

    Raises:
        ValueError: not even 2 fits.
    """
    largest, failed, size = 0, None, 2
    while size <= most and failed is None:
        largest, failed = (size, None) if fits(size) else (largest, size)
        size *= 2
    if not largest:
        raise UserError("not even a batch of 2 images fits in the GPU's memory; choose a smaller network or --image-size")
    grain = max(1, largest // 8)
    end = failed if failed is not None else most + 1
    while end - largest > grain:
        middle = max(largest + grain, (largest + end) // 2 // grain * grain)
        if fits(middle):
            largest = middle
        else:
            end = failed = middle
    return largest, failed


def _on_cpu(attempt: Callable[[int], Trial | None], share: float, most: int) -> BatchSearch:
    limit = process_peak() + int(share * free_memory())
    trials: list[Trial] = []
    size = 2
    while size <= most:
        trial = attempt(size)
        assert trial is not None  # only GPUs say that memory ran out
        trials.append(trial)
        line = memory_line([(t.batch_size, t.peak_memory) for t in trials])
        beyond = line is not None and line[0] + line[1] * size * 2 > limit
        if beyond or size / trial.images_per_second > (_LONGEST / 2 if line is not None else 4 * _LONGEST):
            break
        size *= 2
    line = memory_line([(t.batch_size, t.peak_memory) for t in trials])
    unknown = most if trials[-1].batch_size * 2 > most else trials[-1].batch_size
    reachable = unknown if line is None else min(most, int((limit - line[0]) / line[1]))
    largest = max(reachable, trials[-1].batch_size)
    return BatchSearch(tuple(trials), largest, largest == trials[-1].batch_size, largest < most, limit)


def memory_line(peaks: list[tuple[int, int]]) -> tuple[float, float] | None:
    """Bytes at a batch of nothing and bytes per image, of the line by least squares through (images, peak bytes).

    The peak of a process never falls: what it held before hides the first batches. Only the last ones count, each of which raised the
    peak visibly over the one before; None where those are fewer than three.
    """
    first = len(peaks) - 1
    for earlier, later in reversed(list(pairwise(peaks))):
        if later[1] - earlier[1] < _VISIBLE:
            break
        first -= 1
    visible = peaks[first + 1 :] if first > 0 else peaks[first:]  # the one before the first rise may still be hidden
    if len(visible) < 2 or len(peaks) - first < 3:
        return None
    x, y = [float(size) for size, _ in visible], [float(peak) for _, peak in visible]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    each = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return mean_y - each * mean_x, each


def _try(session: ClassificationSession, shape: tuple[int, ...], size: int, listen: Callable[[Trial], None]) -> Trial | None:
    """Steps on a batch of `size` random images; None where a GPU's memory ran out."""
    device, on_gpu = session.device, session.device.type == "cuda"
    images = labels = torch.empty(0)
    try:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        images = torch.randn(size, *shape, device=device)
        if session.recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.arange(size, device=device) % session.spec.num_classes
        seconds: list[float] = []
        while len(seconds) < 2 or sum(seconds) < 0.4:
            begun = time.perf_counter()
            session.step(Inputs(images, labels), step=len(seconds) + 1, progress=0.0, factor=0.0)
            if on_gpu:
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - begun)
        peak = torch.cuda.max_memory_allocated(device) if on_gpu else process_peak()
        # The fastest step is the one that nothing else on the machine held up; the first may plan and compile.
        trial = Trial(size, size / min(seconds), peak)
        listen(trial)
        return trial
    except torch.OutOfMemoryError:
        return None
    finally:
        if on_gpu:
            session.step.optimizer.zero_grad(set_to_none=True)
            del images, labels
            torch.cuda.empty_cache()
