"""The black box of a run that diverged: what its last step saw, and how to see it again.

The step's batch is made once more (everything random follows from seed, epoch and step), and the network runs on it with every layer
watched, forward and backward, from the state before the step.

Legend: b rows of the batch that this process makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.files import write_atomically
from ..core.text import to_json
from .checkpoint import Position, load_checkpoint, save_checkpoint
from .optim.schedules import learning_rate_factor
from .session import OpenSession

STATE, STORY = "black-box.pt", "black-box.json"


@dataclass(frozen=True)
class BlackBox:
    """What a step saw."""

    step: int
    epoch: int
    indices: list[int]
    """The images of the batch, by their places in the training set."""
    names: list[str]
    """The same by name, where they are files."""
    learning_rates: list[float]
    """Of each of the optimizer's groups in this step."""
    loss: float
    gradient_norm: float
    first_non_finite: dict[str, Any] | None
    """The first thing that was not finite: {"where": "a weight" | "the input" | "forward" | "the loss" | "backward", "layer": name,
    "kind": class name}; None where this step is finite."""
    layers: list[dict[str, Any]]
    """Each layer in the order of the forward pass: its name, its output's largest finite magnitude, how many values are not finite,
    and the norm of its parameters' gradient."""

    @property
    def summary(self) -> str:
        """One sentence: where it began."""
        first = self.first_non_finite
        if first is None:
            return "replayed, the step is finite"
        layer = f" of {first['layer']} ({first['kind']})" if first["layer"] else ""
        return f"the first value that is not finite is in {first['where']}{layer}"


def open_black_box(session: OpenSession, step: int) -> BlackBox:
    """Replays `step` from the session's state, which is the one before that step, without changing a weight."""
    order = session.training.order
    epoch, done = order.place(step - 1)
    name_of = getattr(session.training, "name_of", None)
    batch = next(iter(session.training.epoch(epoch, done)))
    progress = (step - 0.5) / session.total_steps
    factor = learning_rate_factor(session.recipe.schedule, progress)
    names = {module: name for name, module in session.network.named_modules() if not list(module.children())}
    layers: dict[str, dict[str, Any]] = {}
    backward: list[str] = []
    handles = [module.register_forward_hook(_watch(name, layers, backward)) for module, name in names.items()]
    inputs = session.inputs(batch)
    session.network.train()
    session.seed_step(step)
    try:
        result = session.step.gradients(inputs, total=batch.total)
    finally:
        for handle in handles:
            handle.remove()
    for module, name in names.items():
        gradients = [p.grad for p in module.parameters(recurse=False) if p.grad is not None]
        if gradients:
            layers.setdefault(name, {"layer": name})["gradient_norm"] = float(nn.utils.get_total_norm(gradients))
    kinds = {name: type(module).__name__ for module, name in names.items()}
    return BlackBox(
        step=step,
        epoch=epoch,
        indices=batch.indices.tolist(),
        names=[name_of(i) for i in batch.indices.tolist()] if name_of is not None else [],
        learning_rates=[group["peak"] * factor for group in session.step.optimizer.param_groups],
        loss=float(result.loss),
        gradient_norm=float(result.gradient_norm),
        first_non_finite=_first(session, inputs.images, layers, float(result.loss), backward, kinds),
        layers=list(layers.values()),
    )


def write_black_box(folder: Path, session: OpenSession, found: BlackBox) -> None:
    """Writes black-box.json, and black-box.pt: the state from which the step can be replayed."""
    save_checkpoint(folder / STATE, session, Position(step=found.step - 1))
    story = {"summary": found.summary, "replay": f"resnets {session.recipe.command} --resume {folder} --replay", **asdict(found)}
    write_atomically(folder / STORY, to_json(story, indent=2) + "\n")


def replay(folder: Path, session: OpenSession) -> BlackBox:
    """The step that stopped the run in `folder`, once more.

    Raises:
        FileNotFoundError: the run has no black box.
        ValueError: it is damaged, or of another network.
    """
    position = load_checkpoint(folder / STATE, session)
    return open_black_box(session, position.step + 1)


def _watch(name: str, layers: dict[str, dict[str, Any]], backward: list[str]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor):
            return
        finite = torch.isfinite(output)
        largest = output.detach().abs().where(finite, 0).max() if output.numel() else torch.zeros(())
        entry = layers.setdefault(name, {"layer": name, "largest": 0.0, "non_finite": 0})
        entry["largest"] = max(entry["largest"], float(largest))
        entry["non_finite"] += int((~finite).sum())
        if output.requires_grad:  # a hook on the tensor, since those of modules forbid the activations that work in place
            output.register_hook(look)  # type: ignore[no-untyped-call]

    def look(gradient: torch.Tensor) -> None:
        if not bool(torch.isfinite(gradient).all()):
            backward.append(name)

    return hook


def _first(
    session: OpenSession,
    images: Iterable[torch.Tensor],
    layers: dict[str, dict[str, Any]],
    loss: float,
    backward: list[str],
    kinds: dict[str, str],
) -> dict[str, Any] | None:
    """Where it began: weights before the input, the input before the layers, these before the loss, the loss before gradients."""
    for name, parameter in session.network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            layer = name.rpartition(".")[0]
            return {"where": "a weight", "layer": layer, "kind": kinds.get(layer, "")}
    if not all(bool(torch.isfinite(image).all()) for image in images):
        return {"where": "the input", "layer": "", "kind": ""}
    for name, entry in layers.items():
        if entry.get("non_finite"):
            return {"where": "the output", "layer": name, "kind": kinds[name]}
    if loss != loss or loss in (float("inf"), float("-inf")):
        return {"where": "the loss", "layer": "", "kind": ""}
    if backward:
        return {"where": "the gradient", "layer": backward[0], "kind": kinds[backward[0]]}
    for name, entry in layers.items():
        norm = entry.get("gradient_norm", 0.0)
        if norm != norm or norm == float("inf"):
            return {"where": "the gradient", "layer": name, "kind": kinds[name]}
    return None
