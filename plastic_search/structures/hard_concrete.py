"""Which connections exist, and which of those are plastic, by gates that are noisy while they are learned.

Each gate is a binary variable relaxed to a stretched and clipped sigmoid of noise, so the expected number of open
gates has a gradient (hard concrete, Louizos et al. 2018). The budget is a constraint, held by a multiplier that rises
for as long as too many gates are open, and begins again at 0 once few enough are (Gallego-Posada et al. 2022). What is
allowed narrows to the budget while training goes on. When it ends the likeliest gates, as many as the budget allows,
are open for good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures._top import best, share, transformed

_TEMPERATURE, _LOW, _HIGH = 2.0 / 3.0, -0.1, 1.1  # as in the paper
_NEVER = _TEMPERATURE * math.log(-_LOW / _HIGH)
_START = 2.0  # of a gate's log-odds: nearly all are open


class HardConcreteParams(NamedTuple):
    exists: Tensor  # [post, pre], log-odds
    plastic: Tensor  # [post, width of the plastic pathway], log-odds
    multipliers: Tensor  # [2], of the two budgets
    exists_noise: Tensor  # [post, pre], of this update
    plastic_noise: Tensor  # [post, width of the plastic pathway]
    annealing_factor: Tensor  # [1], 0 where just the budget is allowed, 1 where everything is
    soft: Tensor  # [1], 1 while the gates are learned, else 0
    frozen: Tensor  # [1], 1 once training has ended, and the gates are fixed


@dataclass(frozen=True)
class HardConcrete(LearnedSubset):
    """exists = clip(1.2 sigmoid((noise + s) / (2/3)) - 0.1, 0, 1), loss' = loss + lambda (E[open] - density)"""

    buffers: ClassVar[tuple[str, ...]] = (
        "multipliers",
        "exists_noise",
        "plastic_noise",
        "annealing_factor",
        "soft",
        "frozen",
    )
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5  # share of the connections of `support` that exist; above 1, how many
    plastic: float = 1.0  # share of the plastic pathway's existing connections that carry a trace; or how many
    annealing_fraction: float = 0.7  # first share of training, over which what is allowed falls from 1 to the budget
    rise: float = 0.1  # of a multiplier with each update, by the share that is too much

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support, self.annealing_fraction)

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "plastic", "rise")

    def params(self, shape: Shape, rng: Generator) -> HardConcreteParams:
        sizes = (shape.post, shape.pre), (shape.post, shape.plastic.stop - shape.plastic.start)
        exists, plastic = (_START + 0.1 * torch.randn(size, generator=rng) for size in sizes)
        return HardConcreteParams(
            exists,
            plastic,
            torch.zeros(2),
            torch.zeros(sizes[0]),
            torch.zeros(sizes[1]),
            torch.zeros(1),
            torch.zeros(1),
            torch.zeros(1),
        )

    def gates(self, params: HardConcreteParams, shape: Shape, like: Tensor) -> Gates:
        allowed = self.support.gates((), shape, like).exists
        soft = float(params.soft.detach()) > 0.5
        if params.frozen:
            params = HardConcreteParams(*(each.detach() for each in params))
        exists = _soft(params.exists, params.exists_noise) if soft else _hard(params.exists, allowed, self.density, 1)
        exists = exists if allowed is None else exists * allowed
        if params.plastic.numel() == 0:
            return Gates(exists, None)
        heard = exists[:, shape.plastic]
        plastic = _soft(params.plastic, params.plastic_noise) if soft else _hard(params.plastic, heard, self.plastic, 0)
        return Gates(exists, plastic * heard)

    def constraint(self, params: HardConcreteParams, shape: Shape) -> Tensor | None:
        """lambda c, summed over both budgets; c is the share of gates that is too much."""
        if params.frozen:
            return None
        if transformed():
            excess, _ = self._excess(params, shape)
            return (params.multipliers[: len(excess)].detach() * excess).sum()
        return _Price.apply(params.exists, params.plastic, self, params, shape)  # type: ignore[return-value]

    def _excess(self, params: HardConcreteParams, shape: Shape) -> tuple[Tensor, list[_Open]]:
        """By how much each budget is exceeded, and what that was reckoned from."""
        allowed = self.support.gates((), shape, params.exists).exists
        likely = _likely(params.exists)
        room = max(float(likely.numel() if allowed is None else allowed.sum()), 1.0)
        there = likely if allowed is None else likely * allowed
        opens, kept, budgets = [_Open(likely, allowed, room)], [there.sum() / room], [share(self.density, room)]
        if params.plastic.numel():
            heard = there[:, shape.plastic].detach()
            total, likely = heard.sum().clamp_min(1e-6), _likely(params.plastic)
            opens.append(_Open(likely, heard, total))
            kept.append((likely * heard).sum() / total)
            budgets.append(share(self.plastic, float(total)))
        beyond = params.annealing_factor * there.new_tensor([1.0 - each for each in budgets])
        return torch.stack(kept) - (there.new_tensor(budgets) + beyond), opens

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params: HardConcreteParams = context.params
        if params.frozen:
            return
        params.annealing_factor.fill_(self.budget.annealing_factor(context))
        params.soft.fill_(float(context.step < context.steps))
        if context.step >= context.steps:
            params.frozen.fill_(1.0)
        excess, _ = self._excess(params, context.shape)
        held = params.multipliers[: len(excess)]
        held.add_(self.rise * excess).mul_(excess > 0.0)
        noises = params.exists_noise, params.plastic_noise
        drawn = torch.rand(sum(noise.numel() for noise in noises), generator=rng).clamp_(1e-6, 1.0 - 1e-6).logit_()
        for noise, each in zip(noises, drawn.split([noise.numel() for noise in noises]), strict=True):
            noise.copy_(each.view(noise.shape))


class _Open(NamedTuple):
    """How likely gates are open, which of them count, and how many that are."""

    likely: Tensor
    among: Tensor | None
    room: Tensor | float


class _Price(torch.autograd.Function):
    """lambda c, summed over both budgets, and its derivative, as one operation to autograd."""

    @staticmethod
    def forward(
        ctx: Any, exists: Tensor, plastic: Tensor, structure: HardConcrete, params: Any, shape: Shape
    ) -> Tensor:
        excess, ctx.opens = structure._excess(params, shape)
        ctx.save_for_backward(exists, plastic)
        ctx.prices = params.multipliers[: len(excess)].clone()
        return (ctx.prices * excess).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        made: list[Tensor | None] = [None, None]
        odds = ctx.saved_tensors
        for k, (likely, among, room) in enumerate(ctx.opens):
            each = grads[0] * ctx.prices[k] / room
            if torch.is_grad_enabled():  # as create_graph=True does
                likely = _likely(odds[k])
            made[k] = torch.ops.aten.sigmoid_backward(each.expand_as(likely) if among is None else each * among, likely)
        return *made, None, None, None


def _soft(odds: Tensor, noise: Tensor) -> Tensor:
    if not transformed():
        return _Soft.apply(odds, noise)  # type: ignore[return-value]
    return (torch.sigmoid((noise.detach() + odds) / _TEMPERATURE) * (_HIGH - _LOW) + _LOW).clamp(0.0, 1.0)


class _Soft(torch.autograd.Function):
    """`_soft` and its derivative, as one operation to autograd."""

    @staticmethod
    def forward(ctx: Any, odds: Tensor, noise: Tensor) -> Tensor:
        sigmoid = (noise + odds).div_(_TEMPERATURE).sigmoid_()
        made = (sigmoid * (_HIGH - _LOW)).add_(_LOW)
        clipped = made.clamp(0.0, 1.0)
        ctx.save_for_backward(sigmoid, clipped == made, odds, noise)
        return clipped

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        sigmoid, between, odds, noise = ctx.saved_tensors
        if torch.is_grad_enabled():  # as create_graph=True does
            sigmoid = torch.sigmoid((noise + odds) / _TEMPERATURE)
        inner = grads[0] * between * (_HIGH - _LOW)
        return torch.ops.aten.sigmoid_backward(inner, sigmoid) / _TEMPERATURE, None


def _hard(odds: Tensor, allowed: Tensor | None, kept: float, least: int) -> Tensor:
    """The likeliest gates; the gradient is that of how likely they are."""
    likely = torch.sigmoid(odds)
    return best(odds, allowed, kept, least) + (likely - likely.detach())


def _likely(odds: Tensor) -> Tensor:
    """How likely each gate is open at all."""
    return torch.sigmoid(odds - _NEVER)
