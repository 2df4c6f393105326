"""The training step: forward, loss, backward, optimizer, as linear stages that each recipe passes through.

Legend: B pictures of a batch, C channels, H W height and width in pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .averaging import ExponentialAverage
from .optimizers import set_learning_rate


class Diverged(RuntimeError):
    """The loss is no longer a finite number; the weights are those before the step."""


@dataclass(frozen=True)
class StepResult:
    """What one step saw, as tensors on the device (reading one waits for it)."""

    loss: Tensor
    """Mean loss of the batch, float32, a scalar."""
    losses: Tensor
    """Loss of each picture, float32, (B,)."""
    correct: Tensor
    """Pictures of the batch whose largest logit is their target's, int64, a scalar."""


class TrainingStep:
    """One optimizer step on a batch.

    Args:
        network: in training mode.
        optimizer: over its parameters, each group with its `peak` learning rate.
        precision: "fp32" or "bf16" (autocast; the loss is computed in float32 in both).
        accumulation: parts of equal size into which the batch is cut; the gradients are those of the whole batch.
        label_smoothing: share of the target spread over all classes.
        clip_norm: largest norm of the whole gradient, or None.
        average: updated behind the optimizer, or None.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        precision: str = "fp32",
        accumulation: int = 1,
        label_smoothing: float = 0.0,
        clip_norm: float | None = None,
        average: ExponentialAverage | None = None,
    ) -> None:
        self.network, self.optimizer, self.average = network, optimizer, average
        self.precision, self.accumulation = precision, accumulation
        self.label_smoothing, self.clip_norm = label_smoothing, clip_norm
        self.parameters = [p for p in network.parameters() if p.requires_grad]

    def __call__(
        self,
        images: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        total: int | None = None,
        step: int,
        progress: float,
        factor: float,
    ) -> StepResult:
        """Makes step number `step` (from 1) at `progress` in [0, 1], with the learning rates at `factor` of their peaks.

        Args:
            images: (B, C, H, W), float32.
            targets: (B,) int64 classes, or (B, K) float32 shares.
            weights: (B,) float32, how much each picture's loss counts, or None.
            total: what the sum of losses is divided by; None for B.

        Raises:
            Diverged: the loss is not finite (on a GPU found at the next logged step, so that no step waits for it).
        """
        set_learning_rate(self.optimizer, factor)
        self.optimizer.zero_grad(set_to_none=True)
        losses, correct = [], []
        total, parts = total or len(images), self.accumulation
        for rows in (slice(len(images) * i // parts, len(images) * (i + 1) // parts) for i in range(parts)):
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                logits = self.network(images[rows])
            wanted = targets[rows]
            loss = functional.cross_entropy(logits.float(), wanted, label_smoothing=self.label_smoothing, reduction="none")
            counted = loss if weights is None else loss * weights[rows]
            (counted.sum() / total).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            classes = wanted if wanted.dim() == 1 else wanted.argmax(1)
            correct.append((logits.detach().argmax(1) == classes).sum())
        each = torch.cat(losses)
        result = StepResult(each.mean(), each, torch.stack(correct).sum())
        if images.device.type == "cpu":
            check_finite(result.loss, step)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(step, progress)
        return result


def check_finite(loss: Tensor, step: int) -> None:
    """Raises `Diverged` with advice where the loss is infinite or not a number."""
    if not torch.isfinite(loss):
        raise Diverged(
            f"the loss became {loss.item()} at step {step}, and training stopped before that step changed the weights; "
            "lower --optimizer.learning-rate, raise --schedule.warmup or set --clip-norm"
        )
