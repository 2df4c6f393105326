"""LAMB: Adam whose update of each tensor is scaled to the tensor's own length, for large batches (You et al. 2019, 1904.00962)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """Algorithm 2 of the paper, with the choices of NVIDIA's and timm's implementations, which trained its followers' results:

    - the gradient of all parameters together is first scaled down to a norm of `max_norm` where it is longer;
    - both averages are corrected for their start at zero, as in Adam;
    - weight decay is added to the normalised update before its length is taken, not decoupled from it;
    - the trust ratio is |w| / |update|, neither clipped nor passed through the paper's φ, and 1 where either length is 0;
    - groups without weight decay (norms and biases, as a rule) take the plain Adam update, whose trust ratio is 1.

    Each tensor has its own trust ratio. The state of a parameter is `step`, `exp_avg` and `exp_avg_sq`, as torch's Adam names them.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: averaging rates of the gradient and of its square.
        eps: added to the denominator.
        weight_decay: see above.
        max_norm: see above; None for no limit.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        max_norm: float | None = 1.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.max_norm = max_norm

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients, which it leaves as they are."""
        everything = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not everything:
            return
        shrink: Tensor | None = None
        if self.max_norm is not None:
            length = torch.stack(torch._foreach_norm(everything)).norm()
            shrink = (self.max_norm / length).clamp(max=1.0)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(group, parameters, shrink)

    def _update(self, group: dict[str, Any], parameters: list[Tensor], shrink: Tensor | None) -> None:
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
            state["step"] += 1
        states = [self.state[p] for p in parameters]
        gradients: list[Tensor] = [p.grad for p in parameters]  # type: ignore[misc]
        if shrink is not None:
            gradients = list(torch._foreach_mul(gradients, shrink))
        firsts, seconds = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        torch._foreach_lerp_(firsts, gradients, 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, gradients, gradients, 1 - beta2)
        denominators = list(torch._foreach_sqrt(seconds))
        torch._foreach_div_(denominators, [(1 - beta2 ** s["step"]) ** 0.5 for s in states])
        torch._foreach_add_(denominators, group["eps"])
        updates = list(torch._foreach_div(firsts, denominators))
        torch._foreach_div_(updates, [1 - beta1 ** s["step"] for s in states])
        if decay:
            torch._foreach_add_(updates, parameters, alpha=decay)
            weights, lengths = torch._foreach_norm(parameters), torch._foreach_norm(updates)
            ratios = [torch.where((w > 0) & (u > 0), w / u, 1.0) for w, u in zip(weights, lengths, strict=True)]
            torch._foreach_mul_(updates, ratios)
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])
