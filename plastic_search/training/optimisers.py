"""Optimisers as values: how an update follows from a gradient, and which parameters have their own learning rate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import Part, positive
from plastic_search.core.space import real
from plastic_search.network.blocks import held_blocks, paths_match
from plastic_search.network.module import Network
from plastic_search.network.population import Population
from plastic_search.network.pytree import map_tensors
from plastic_search.training import shift_adamax

__all__ = [
    "SGD", "Adam", "AdamW", "Optimiser", "ParameterGroup", "ShiftAdaMax", "clip_members", "gradient_factors",
    "keep_held", "load_optimiser", "mean_gradients", "parameter_groups", "saved_optimiser",
]  # fmt: skip


@dataclass(frozen=True)
class Optimiser(Part):
    """How an update follows from a gradient."""

    @abstractmethod
    def begin(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of some parameter groups, elementwise, as torch has it."""


@dataclass(frozen=True)
class Adam(Optimiser):
    """theta' = theta - rate m / (sqrt(v) + epsilon), of g + weight_decay theta (Kingma and Ba 2015)

    Weight decay is part of the gradient (L2), as in the programs of Miconi et al.; `AdamW` has the other kind.

    Args:
        epsilon: is added to the root of the mean square (1e-6 and 1e-4 in the programs of Miconi et al. 2019).
        weight_decay: factor of the parameters that are added to the gradient, after it was clipped.
    """

    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @classmethod
    def space(cls) -> Adam:
        return cls(epsilon=real(1e-8, 1e-4, log=True))

    def check(self) -> None:
        positive(self, "epsilon")
        _not_negative(self, "weight_decay")

    def begin(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, learning_rate, eps=self.epsilon, weight_decay=self.weight_decay, foreach=True)


@dataclass(frozen=True)
class AdamW(Optimiser):
    """theta' = (1 - rate weight_decay) theta - rate m / (sqrt(v) + epsilon) (Loshchilov and Hutter 2019)

    Args:
        epsilon: is added to the root of the mean square.
        weight_decay: share by which parameters shrink in an update, before it is multiplied by the learning rate.
    """

    epsilon: float = 1e-8
    weight_decay: float = 0.01

    @classmethod
    def space(cls) -> AdamW:
        return cls(weight_decay=real(1e-4, 1.0, log=True))

    def check(self) -> None:
        positive(self, "epsilon")
        _not_negative(self, "weight_decay")

    def begin(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, learning_rate, eps=self.epsilon, weight_decay=self.weight_decay, foreach=True)


@dataclass(frozen=True)
class SGD(Optimiser):
    """b' = momentum b + g + weight_decay theta, theta' = theta - rate b'

    Args:
        momentum: share of the last update's direction that is kept, from 0 to below 1.
        weight_decay: factor of the parameters that are added to the gradient (L2), after it was clipped.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0

    @classmethod
    def space(cls) -> SGD:
        return cls(momentum=real(0.0, 0.99))

    def check(self) -> None:
        _not_negative(self, "momentum", "weight_decay")
        if self.momentum >= 1.0:
            raise PlasticSearchError(f"SGD.momentum is a share, from 0 to below 1, but is {self.momentum}")

    def begin(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            groups, learning_rate, momentum=self.momentum, weight_decay=self.weight_decay, foreach=True
        )


@dataclass(frozen=True)
class ShiftAdaMax(Optimiser):
    """theta' = theta - AP2(rate / (1 - beta1^t)) m / AP2(v), v' = max(beta2 v, |g|) (Hubara et al. 2016, algorithm 3)

    Every product is with a power of two, AP2(z) = sign(z) 2^round(log2 |z|), so a device can shift.

    Args:
        beta1: share of the mean gradient m that is kept: 1 - 2^-3, or another 1 - 2^-k.
        beta2: share of the largest gradient v that is kept.
        epsilon: is added to AP2(v).
    """

    beta1: float = 1 - 2.0**-3
    beta2: float = 1 - 2.0**-10
    epsilon: float = 2.0**-27

    def check(self) -> None:
        positive(self, "epsilon")
        _not_negative(self, "beta1", "beta2")
        for name in ("beta1", "beta2"):
            if getattr(self, name) >= 1.0:
                raise PlasticSearchError(
                    f"ShiftAdaMax.{name} is a share, from 0 to below 1, but is {getattr(self, name)}"
                )

    def begin(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> torch.optim.Optimizer:
        return shift_adamax.ShiftAdaMax(groups, learning_rate, self.beta1, self.beta2, self.epsilon)


@dataclass(frozen=True)
class ParameterGroup(Part):
    """Parameters below `path` have learning_rate * rate, and gradient * gradient before the whole is clipped

    Where several groups name a parameter, their factors are multiplied.

    Args:
        path: of tensors, of which a step may be `*`: `layers.*.alpha`.
        rate: factor of the learning rate.
        gradient: factor of the gradient, such as 1 / units for an alpha per neuron (Miconi et al. 2019, large LSTM).
    """

    path: str
    rate: float = 1.0
    gradient: float = 1.0

    def check(self) -> None:
        positive(self, "rate", "gradient")


def parameter_groups(
    net: Network | Population, groups: Sequence[ParameterGroup], learning_rate: float
) -> list[dict[str, Any]]:
    """The parameters of a network or population, as torch's optimisers take them, in groups of equal learning rate.

    Raises:
        PlasticSearchError: a group's path names no parameter; the message lists those there are.
    """
    named = _named(net)
    _check_paths(groups, named)
    by_rate: dict[float, list[Parameter]] = {}
    for path, parameter in named.items():
        by_rate.setdefault(_product(g.rate for g in groups if paths_match(g.path, path)), []).append(parameter)
    return [{"params": params, "lr": learning_rate * rate} for rate, params in by_rate.items()]


def gradient_factors(net: Network | Population, groups: Sequence[ParameterGroup]) -> Callable[[], None]:
    """A function that multiplies the gradients by the groups' factors, in place."""
    factors = {p: _product(g.gradient for g in groups if paths_match(g.path, path)) for path, p in _named(net).items()}
    scaled = {p: factor for p, factor in factors.items() if factor != 1.0}

    def scale() -> None:
        for p, factor in scaled.items():
            if p.grad is not None:
                p.grad.mul_(factor)

    return scale


def keep_held(net: Network | Population) -> Callable[[], None]:
    """A function that resets the numbers that are held to their values of now, since weight decay changes them, too."""
    parts = net.parts() if isinstance(net, Network) else _first_parts(net)
    masks = held_blocks(net.spec, net.shapes, parts)
    held = [(net.bags()[i].tensor(name), mask) for (i, name), mask in masks.items()]
    before = [p.detach().clone() for p, _ in held]

    @torch.no_grad()
    def restore() -> None:
        for (p, mask), values in zip(held, before, strict=True):
            p.copy_(torch.where(mask, values, p))

    return restore


def clip_members(params: Iterable[Tensor], largest: float) -> None:
    """Scale each member's gradient down to the norm `largest`, in place, as torch's clip_grad_norm_ does for one net.

    Args:
        params: of a population, with an axis over members before all others.
    """
    grads = [p.grad for p in params if p.grad is not None]
    squares = torch.stack([g.square().flatten(1).sum(1) for g in grads]).sum(0)
    share = (largest / (squares.sqrt() + 1e-6)).clamp_max(1.0)
    for grad in grads:
        grad.mul_(share.view(-1, *[1] * (grad.dim() - 1)))


def mean_gradients(optimiser: torch.optim.Optimizer) -> list[Callable[[Tensor], Tensor | None]]:
    """Functions that return an optimiser's running means of a parameter's gradient, and of its square.

    They return None before its first gradient, and where an optimiser keeps none.
    """

    def mean(name: str, parameter: Tensor) -> Tensor | None:
        return optimiser.state[parameter].get(name)

    return [partial(mean, name) for name in ("exp_avg", "exp_avg_sq")]


def saved_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors that an optimiser keeps, by number of the parameter and name: `3.exp_avg`; not copies."""
    found = {}
    for number, p in enumerate(_of_groups(optimiser)):
        found |= {f"{number}.{name}": t for name, t in optimiser.state.get(p, {}).items() if isinstance(t, Tensor)}
    return found


def load_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Give an optimiser of the same parameters what `saved_optimiser` returned."""
    params = _of_groups(optimiser)
    optimiser.state.clear()
    for path, tensor in saved.items():
        number, _, name = path.partition(".")
        optimiser.state[params[int(number)]][name] = tensor.clone()


def _of_groups(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _first_parts(population: Population) -> tuple[Any, ...]:
    return tuple(map_tensors(lambda tensor: tensor[0], bag.tree()) for bag in population.bags())


def _named(net: Network | Population) -> dict[str, Parameter]:
    """Every parameter that is trained, by its path, in the order of `net.parameters()`."""
    return {
        f"layers.{i}.{name}": tensor
        for i, bag in enumerate(net.bags())
        for name, tensor in bag.tensors().items()
        if isinstance(tensor, Parameter)
    }


def _check_paths(groups: Sequence[ParameterGroup], named: dict[str, Tensor] | dict[str, Parameter]) -> None:
    for group in groups:
        if not any(paths_match(group.path, path) for path in named):
            raise unknown("parameter", group.path, [path for path, tensor in named.items() if tensor.numel()])


def _product(factors: Iterable[float]) -> float:
    total = 1.0
    for factor in factors:
        total *= factor
    return total


def _not_negative(part: Part, *names: str) -> None:
    for name in names:
        if getattr(part, name) < 0:
            raise PlasticSearchError(f"{type(part).__name__}.{name} must be 0 or more, but is {getattr(part, name)}")
