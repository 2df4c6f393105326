"""Whether an exported network gives what the network in PyTorch gives, in the runtime that will run it.

Legend: N images of a batch, C channels, S spatial shape, K classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.errors import JobError
from ...networks import Network
from ..engines.engine import Engine
from ..graph.description import Description
from ..graph.exported import example_inputs, native_size

BATCHES = (1, 3, 16)
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 5e-2}
"""Largest difference that is allowed, by precision: a share of the batch's largest logit in magnitude, or of 1 for probabilities."""


class ParityFailure(JobError):
    """An exported network does not give what the network in PyTorch gives."""


@dataclass(frozen=True)
class BatchParity:
    """One batch, compared."""

    batch: int
    """Number of images."""
    size: int
    """Their height and width in pixels."""
    max_abs_difference: float
    """Of logits, or of probabilities."""
    max_rel_difference: float
    """The same as a share of the largest logit in magnitude, or of 1 for probabilities."""
    top1_agreement: float
    """Share of the images whose likeliest class is the same, in [0, 1]."""
    undecided: int
    """Images whose two likeliest classes are nearer to each other in PyTorch than the tolerance can tell apart; they may differ."""
    passed: bool


@dataclass(frozen=True)
class Parity:
    """All batches, compared."""

    batches: tuple[BatchParity, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every batch agrees."""
        return all(batch.passed for batch in self.batches)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "passed": self.passed,
            "inputs": "seeded noise",
            "tolerance": self.tolerance,
            "batches": [asdict(batch) for batch in self.batches],
        }

    def sentence(self) -> str:
        """In words."""
        worst = max(self.batches, key=lambda batch: batch.max_rel_difference)
        agreeing = sum(batch.top1_agreement * batch.batch for batch in self.batches)
        total = sum(batch.batch for batch in self.batches)
        return (
            f"largest difference to PyTorch {worst.max_rel_difference:.1e} of the largest value (allowed: {self.tolerance:.0e}), "
            f"the same likeliest class for {agreeing:.0f} of {total} inputs"
        )


def compare(network: Network, engine: Engine, *, tolerance: float | None = None, seed: int = 0) -> Parity:
    """Compares an engine with the network in PyTorch, float32 on the CPU, on noise: batches of 1, 3 and 16 at the native size, and
    of 3 at another size where the form allows one.

    `tolerance` is by default that of the engine's precision in `TOLERANCES`.
    """
    description = engine.description
    allowed = TOLERANCES[engine.precision] if tolerance is None else tolerance
    size = native_size(description)
    cases = [(batch, size) for batch in BATCHES]
    if description.form.size is None:
        mean_is_image = description.preprocessing is not None and bool(description.preprocessing.mean_picture)
        cases += [(3, size + 32)] if not (mean_is_image and description.form.input == "uint8") else []
    reference = network.eval()
    rows = []
    for number, (batch, side) in enumerate(cases):
        inputs = example_inputs(description, batch, side, seed + number)
        rows.append(_compare(_expected(reference, description, inputs), engine.outputs(inputs), side, allowed))
    return Parity(tuple(rows), allowed)


@torch.inference_mode()
def _expected(network: Network, description: Description, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What PyTorch gives: values (N, K) to compare (logits or probabilities), and the likeliest classes (N,)."""
    place = next(network.parameters()).device
    if description.form.input == "images":
        logits = network(inputs.to(place)).float().cpu()
        return logits, logits.argmax(1)
    assert description.preprocessing is not None
    images = description.preprocessing.normalized(inputs.permute(0, 3, 1, 2))
    probabilities = network(images.to(place)).float().softmax(1).cpu()
    return probabilities, probabilities.argmax(1)


def _compare(expected: tuple[Tensor, Tensor], found: tuple[Tensor, ...], size: int, tolerance: float) -> BatchParity:
    values, labels = expected
    images = len(found) > 1
    got = found[-1].float().cpu()
    taken = found[0].cpu() if images else got.argmax(1)
    right_form = got.shape == values.shape and taken.shape == labels.shape and bool(got.isfinite().all())
    scale = 1.0 if images else max(float(values.abs().max()), 1e-12)
    difference = float((got - values).abs().max()) if right_form else float("inf")
    best = values.topk(min(2, values.shape[1])).values
    near = (best[:, 0] - best[:, -1]) <= 2 * tolerance * scale
    same = taken == labels if right_form else torch.zeros_like(labels, dtype=torch.bool)
    if values.shape[1] == 1:
        near = torch.zeros_like(same)
    return BatchParity(
        batch=len(values),
        size=size,
        max_abs_difference=difference,
        max_rel_difference=difference / scale,
        top1_agreement=float(same.float().mean()),
        undecided=int(near.sum()),
        passed=difference <= tolerance * scale and bool((same | near).all()),
    )
