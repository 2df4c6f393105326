"""Fine-tuning: which parts of a network learn at a step, how fast each does, and what its batch norms do.

A part is what `Network.parts` names: conv1, conv2_x with what leads into it, ..., head. Everything here acts on modules, so that it goes
together with compilation, accumulation, averages and several processes; what may learn at a step follows from the progress alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..core.errors import UserError
from ..networks import Network
from .recipe import Recipe


class Learners:
    """Decides which parameters learn, and which parts work as in evaluation meanwhile.

    What never learns is fixed when this is made, so that an optimizer can leave it out; `at` does the rest. It is made after everything
    that puts other modules into the network, such as synchronised norms.

    Raises:
        ValueError: the recipe freezes a part that the network does not have, or names batch norms where there are none.
    """

    def __init__(self, network: Network, recipe: Recipe) -> None:
        self.network = network
        self.head_first = recipe.fine_tuning.head_first
        self.frozen = frozen_parts(network, recipe.fine_tuning.freeze)
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        if recipe.bn in ("stats-frozen", "frozen", "recalibrate") and not norms:
            raise UserError(
                f"bn={recipe.bn!r} is about batch norms, but this network has norm={network.spec.norm!r}; leave --bn at train"
            )
        network.fixed_statistics = recipe.bn in ("stats-frozen", "frozen")
        self._fixed = {p for norm in norms for p in norm.parameters()} if recipe.bn == "frozen" else set()
        self.reset()

    def reset(self) -> None:
        """Goes back to where no step was prepared: all learns but what never does."""
        self._head_alone: bool | None = None
        self._set(self.frozen)

    @property
    def first(self) -> list[nn.Parameter]:
        """Parameters that begin to learn before the others; none where all begin together."""
        return list(_parameters(self.network.parts["head"])) if self.head_first else []

    def at(self, progress: float) -> bool:
        """Prepares the network for a step at `progress`, and says whether anything changed since the step before."""
        head_alone = progress < self.head_first
        if head_alone == self._head_alone:
            return False
        self._head_alone = head_alone
        self._set(self.network.parts.keys() - {"head"} if head_alone else self.frozen)
        return True

    def _set(self, eval_only: Iterable[str]) -> None:
        self.network.eval_only = frozenset(eval_only)
        for name, modules in self.network.parts.items():
            for parameter in _parameters(modules):
                parameter.requires_grad_(name not in self.network.eval_only and parameter not in self._fixed)
        self.network.train(self.network.training)


def frozen_parts(network: Network, freeze: str) -> frozenset[str]:
    """Names of the parts up to and with `freeze`: none, a part's name, or body for all but the head.

    Raises:
        ValueError: the network has no such part.
    """
    names = list(network.parts)[:-1]
    if freeze == "none":
        return frozenset()
    if freeze != "body" and freeze not in names:
        raise UserError(
            f"fine_tuning.freeze={freeze!r} is no part of this network; choose none, {', '.join(names)}, or body for all of them"
        )
    return frozenset(names if freeze == "body" else names[: names.index(freeze) + 1])


def rate_factors(network: Network, decay: float) -> dict[nn.Parameter, float]:
    """Each parameter's learning rate as a multiple of the head's: decay^k for the part k places before the head."""
    return {
        parameter: decay**distance
        for distance, modules in enumerate(reversed(network.parts.values()))
        for parameter in _parameters(modules)
    }


def _parameters(modules: Iterable[nn.Module]) -> Iterable[nn.Parameter]:
    return (parameter for module in modules for parameter in module.parameters())
