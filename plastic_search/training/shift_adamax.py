"""AdaMax whose products are shifts (Hubara et al. 2016, arXiv 1602.02830, algorithm 3), as torch's optimisers are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from plastic_search.network.quantization import power_of_two

__all__ = ["ShiftAdaMax"]


class ShiftAdaMax(torch.optim.Optimizer):
    """theta' = theta - AP2(rate / (1 - beta1^t)) m' / (AP2(v') + epsilon), v' = max(beta2 v, |g|)

    m' = beta1 m + (1 - beta1) g is the mean gradient.

    Args:
        groups: parameters, or groups of them that may have a learning rate of their own, `lr`.
        rate: the learning rate.
        beta1, beta2, epsilon: as in `optimisers.ShiftAdaMax`.
    """

    def __init__(
        self, groups: Iterable[Any], rate: float, beta1: float = 0.875, beta2: float = 1 - 2.0**-10,
        epsilon: float = 2.0**-27,
    ) -> None:  # fmt: skip
        super().__init__(groups, {"lr": rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient; `closure` computes the loss anew, with its gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p), "exp_inf": torch.zeros_like(p)}
        state["step"] += 1
        mean = state["exp_avg"].lerp_(grad, 1 - group["beta1"])
        largest = torch.maximum(state["exp_inf"].mul_(group["beta2"]), grad.abs(), out=state["exp_inf"])
        rate = power_of_two(torch.as_tensor(group["lr"] / (1 - group["beta1"] ** float(state["step"]))))
        p.sub_(float(rate) * mean / (power_of_two(largest) + group["epsilon"]))
