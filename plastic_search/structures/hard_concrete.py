"""Which connections exist, and which of those are plastic, by gates that are noisy while they are learned.

Each gate is a binary variable relaxed to a stretched and clipped sigmoid of noise, so that the expected number of open
gates has a gradient (hard concrete, Louizos et al. 2018, arXiv 1712.01312). The budget is a constraint: its Lagrange
multiplier rises while too many gates are open, and is reset to 0 once few enough are (Gallego-Posada et al. 2022, arXiv
2208.04425). The allowed number anneals to the budget. When training ends the most probable gates, as many as the budget
allows, are opened for good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures._top import best, share

_TEMPERATURE, _LOW, _HIGH = 2.0 / 3.0, -0.1, 1.1  # beta, gamma and zeta of the paper
_SHIFT = _TEMPERATURE * math.log(-_LOW / _HIGH)  # a gate is open with probability sigmoid(log-odds - _SHIFT)
_START = 2.0  # log-odds at first: nearly all gates are open


class HardConcreteParams(NamedTuple):
    exists: Tensor  # [post, pre], log-odds
    plastic: Tensor  # [post, width of the plastic pathway], log-odds
    multipliers: Tensor  # [2], of the two budgets
    exists_noise: Tensor  # [post, pre], logistic, drawn anew for each update
    plastic_noise: Tensor  # [post, width of the plastic pathway]
    annealing_factor: Tensor  # [1], 0 where just the budget is allowed, 1 where everything is
    soft: Tensor  # [1], 1 while the gates are learned, else 0
    frozen: Tensor  # [1], 1 once training has ended, and the gates are fixed


@dataclass(frozen=True)
class HardConcrete(LearnedSubset):
    """exists = clip(1.2 sigmoid((noise + s) / (2/3)) - 0.1, 0, 1), loss' = loss + lambda (E[open] - density)

    Args:
        density: share of the connections of `support` that exist, up to 1; above 1, how many.
        plastic: share of the plastic pathway's existing connections that carry a trace, above 0; above 1, how many.
        annealing_fraction: first share of training, over which the shares fall from 1 to the budget.
        rise: what a multiplier grows by in each update, times the share of open gates beyond the allowed one.
        support: where a connection may be at all, a structure that learns nothing.
    """

    buffers: ClassVar[tuple[str, ...]] = HardConcreteParams._fields[2:]
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5
    plastic: float = 1.0
    annealing_fraction: float = 0.7
    rise: float = 0.1

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support, self.annealing_fraction)

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "plastic", "rise")

    def params(self, shape: Shape, rng: Generator) -> HardConcreteParams:
        sizes = (shape.post, shape.pre), (shape.post, shape.width)
        exists, plastic = (_START + 0.1 * torch.randn(size, generator=rng) for size in sizes)
        noise, plastic_noise, factor, soft, frozen = (torch.zeros(size) for size in (*sizes, 1, 1, 1))
        return HardConcreteParams(exists, plastic, torch.zeros(2), noise, plastic_noise, factor, soft, frozen)

    def gates(self, params: HardConcreteParams, shape: Shape, like: Tensor) -> Gates:
        allowed = self.support.gates((), shape, like).exists
        soft = float(params.soft.detach()) > 0.5
        if params.frozen:
            params = HardConcreteParams(*(each.detach() for each in params))
        exists = _soft(params.exists, params.exists_noise) if soft else _hard(params.exists, allowed, self.density, 1)
        exists = exists if allowed is None else exists * allowed
        if params.plastic.numel() == 0:
            return Gates(exists, None)
        there = exists[:, shape.plastic]
        plastic = _soft(params.plastic, params.plastic_noise) if soft else _hard(params.plastic, there, self.plastic, 0)
        return Gates(exists, plastic * there)

    def constraint(self, params: HardConcreteParams, shape: Shape) -> Tensor | None:
        """lambda c, summed over both budgets; c is the excess share of open gates."""
        if params.frozen:
            return None
        excess = self._excess(params, shape)
        return (params.multipliers[: len(excess)].detach() * excess).sum()

    def _excess(self, params: HardConcreteParams, shape: Shape) -> Tensor:
        """The expected share of open gates less the allowed share, of each budget [1 or 2].

        The second budget is absent without a plastic pathway; no gradient passes from it to existence.
        """
        allowed = self.support.gates((), shape, params.exists).exists
        likely = torch.sigmoid(params.exists - _SHIFT)
        capacity = max(float(likely.numel() if allowed is None else allowed.sum()), 1.0)
        likely = likely if allowed is None else likely * allowed
        shares, budgets = [likely.sum() / capacity], [share(self.density, capacity)]
        if params.plastic.numel():
            there = likely[:, shape.plastic].detach()
            expected = there.sum().clamp_min(1e-6)
            shares.append((torch.sigmoid(params.plastic - _SHIFT) * there).sum() / expected)
            budgets.append(share(self.plastic, float(expected)))
        beyond = params.annealing_factor * likely.new_tensor([1.0 - each for each in budgets])
        return torch.stack(shares) - (likely.new_tensor(budgets) + beyond)

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params: HardConcreteParams = context.params
        if params.frozen:
            return
        params.annealing_factor.fill_(self.budget.annealing_factor(context))
        params.soft.fill_(float(context.step < context.steps))
        params.frozen.fill_(float(context.step >= context.steps))
        excess = self._excess(params, context.shape)
        multipliers = params.multipliers[: len(excess)]
        multipliers.add_(self.rise * excess).mul_(excess > 0.0)
        noises = params.exists_noise, params.plastic_noise
        drawn = torch.rand(sum(noise.numel() for noise in noises), generator=rng).clamp_(1e-6, 1.0 - 1e-6).logit_()
        for noise, each in zip(noises, drawn.split([noise.numel() for noise in noises]), strict=True):
            noise.copy_(each.view(noise.shape))


def _soft(odds: Tensor, noise: Tensor) -> Tensor:
    """Noisy gates from 0 to 1."""
    return (torch.sigmoid((noise.detach() + odds) / _TEMPERATURE) * (_HIGH - _LOW) + _LOW).clamp(0.0, 1.0)


def _hard(odds: Tensor, allowed: Tensor | None, amount: float, least: int) -> Tensor:
    """The most probable gates, 0 or 1; the gradient is that of their probability."""
    likely = torch.sigmoid(odds)
    return best(odds, allowed, amount, least) + (likely - likely.detach())
