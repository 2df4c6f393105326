"""The training step: forward, loss, backward, optimizer, as linear stages that each recipe passes through.

Legend: B rows of a batch over all processes, b those of this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core.errors import JobError
from ..optim.optimizers import set_learning_rate
from .averaging import ExponentialAverage
from .objective import Inputs, Objective


class Diverged(JobError):
    """The loss or the gradient is no longer finite; the weights are those before the step."""

    def __init__(self, step: int, what: str, where: str = "") -> None:
        super().__init__(
            f"{what} at step {step}, and training stopped before that step changed the weights{where}; "
            "lower --optimizer.learning-rate, raise --schedule.warmup or set --clip-norm"
        )
        self.step, self.what = step, what
        """Its number, from 1, and what was not finite."""

    def described(self, where: str, folder: Path) -> Diverged:
        """The same with where it began, and the folder that holds the black box."""
        return Diverged(self.step, self.what, f" ({where}; more in {folder / 'black-box.json'})")


@dataclass(frozen=True)
class StepResult:
    """What one step saw, as tensors on the device (reading one waits for it)."""

    loss: Tensor
    """Mean loss of this process's rows, float32, a scalar."""
    losses: Tensor
    """Loss of each image, float32, (b,)."""
    measures: Mapping[str, Tensor]
    """What else the objective measured, by name: sums over this process's images, scalars. A classifier's "accuracy" counts those
    whose largest logit is their target's."""
    gradient_norm: Tensor
    """Euclidean norm of the whole gradient before clipping, a scalar."""


class TrainingStep:
    """One optimizer step on a batch.

    Args:
        network: in training mode; wrapped for several processes where there are any.
        optimizer: over its parameters, each group with its `peak` learning rate.
        objective: what is minimised.
        precision: "fp32" or "bf16" (autocast; the loss is computed in float32 in both).
        accumulation: parts of equal size into which the batch is cut; the gradients are those of the whole batch.
        clip_norm: largest norm of the whole gradient, or None.
        average: updated after the optimizer, or None.
        world: number of processes whose gradients are averaged.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        objective: Objective,
        precision: str = "fp32",
        accumulation: int = 1,
        clip_norm: float | None = None,
        average: ExponentialAverage | None = None,
        world: int = 1,
    ) -> None:
        self.network, self.optimizer, self.average = network, optimizer, average
        self.parallel = next((m for m in network.modules() if isinstance(m, nn.parallel.DistributedDataParallel)), None)
        self.precision, self.accumulation = precision, accumulation
        self.objective = objective
        self.clip_norm, self.world = clip_norm, world
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        device = self.parameters[0].device
        # A fused optimizer on a GPU leaves its step out by itself where this is not 0, so that no step waits to be read.
        self.defers = device.type == "cuda" and bool(optimizer.defaults.get("fused"))
        self.autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bf16")
        self.bad_step = torch.zeros((), dtype=torch.int64, device=device)

    def __call__(self, inputs: Inputs, *, total: int | None = None, step: int, progress: float, factor: float) -> StepResult:
        """Makes step number `step` (from 1) at `progress` in [0, 1], with the learning rates at `factor` of their peaks.

        Args:
            inputs: b images with what the objective needs to know of them.
            total: B, what the sum of losses is divided by; None for b.

        Raises:
            Diverged: the loss or the gradient is not finite (on a GPU said by `check`, so that no step waits for it).
        """
        set_learning_rate(self.optimizer, factor)
        result = self.gradients(inputs, total=total)
        finite = torch.isfinite(result.gradient_norm)
        if self.world == 1:  # elsewhere the gradient, which is the same in all processes, must decide alone
            finite = finite & torch.isfinite(result.loss)
        if self.defers:
            self.bad_step = torch.where((self.bad_step == 0) & ~finite, step, self.bad_step)
            self.optimizer.found_inf = (self.bad_step > 0).float()  # type: ignore[attr-defined]
        elif not finite:
            raise Diverged(step, f"the loss became {float(result.loss)}, the gradient's norm {float(result.gradient_norm)}")
        if self.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, result.gradient_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(step, progress)
        return result

    def gradients(self, inputs: Inputs, *, total: int | None = None) -> StepResult:
        """The first half of a step: forward, loss and backward, after which each parameter has its gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        outcomes = []
        count, parts = len(inputs), self.accumulation
        total = total or count
        for part in range(parts):
            rows = slice(count * part // parts, count * (part + 1) // parts)
            with self._synchronizing(part == parts - 1):
                outcome = self.objective(self.network, inputs[rows], self.autocast)
                # Gradients are averaged over processes, but the loss is a sum over all of them, divided once by B.
                (outcome.total * (self.world / total)).backward()  # type: ignore[no-untyped-call]
            outcomes.append(outcome)
        each = torch.cat([outcome.losses for outcome in outcomes])
        measures = {name: torch.stack([outcome.measures[name] for outcome in outcomes]).sum() for name in outcomes[0].measures}
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        return StepResult(each.mean(), each, measures, nn.utils.get_total_norm(gradients))

    def _synchronizing(self, last: bool) -> AbstractContextManager[None]:
        """Gradients of all but the last part stay in their process: averaging once is enough."""
        return nullcontext() if last or self.parallel is None else self.parallel.no_sync()

    def check(self) -> None:
        """Raises `Diverged` where a step on a GPU was left out because something was not finite; reading waits for the device."""
        if self.defers and (step := int(self.bad_step)):
            raise Diverged(step, "the loss or the gradient was no longer finite")
