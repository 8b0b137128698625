"""Which connections exist, and which of those are plastic, by magnitude: the smallest are pruned, and do not return.

Training begins with all connections; their number falls to the budget on a cubic schedule (gradual magnitude pruning,
Zhu and Gupta 2017, arXiv 1710.01878). It is the control that a learned structure has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures._top import best, highest, strength


class PrunedParams(NamedTuple):
    exists: Tensor  # [post, pre], 0 or 1
    plastic: Tensor  # [post, width of the plastic pathway], likewise
    frozen: Tensor  # [1], 1 once training has ended, and the connections are fixed


@dataclass(frozen=True)
class Pruned(LearnedSubset):
    """exists = top(|w| + |alpha|, share), share = density + (1 - density) (1 - t / annealing_fraction)^3

    Args:
        density: share of the connections of `support` that exist, up to 1; above 1, how many.
        plastic: share of the plastic pathway's existing connections that carry a trace, up to 1; above 1, how many.
        annealing_fraction: first share of training, over which the shares fall from 1 to the budget.
        times: number of prunings, if they went on to the end of training.
        support: where a connection may be at all, a structure that learns nothing.
    """

    buffers: ClassVar[tuple[str, ...]] = ("exists", "plastic", "frozen")
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5
    plastic: float = 1.0
    annealing_fraction: float = 0.7
    times: int = 40

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support, self.annealing_fraction)

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "times")

    def params(self, shape: Shape, rng: Generator) -> PrunedParams:
        scores = torch.rand(shape.post, shape.pre, generator=rng)
        exists = best(scores, self.support.gates((), shape, scores).exists, self.density, least=1)
        there = exists[:, shape.plastic]
        return PrunedParams(exists, best(torch.rand(there.shape, generator=rng), there, self.plastic), torch.zeros(1))

    def gates(self, params: PrunedParams, shape: Shape, like: Tensor) -> Gates:
        return Gates(params.exists.detach(), params.plastic.detach() if params.plastic.numel() else None)

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params, done = context.params, context.step / context.steps
        if params.frozen:
            return
        params.frozen.fill_(float(done >= 1.0))
        if context.step == 0:  # the random connections of an untrained network, as many as the budget, give way to all
            allowed = self.support.gates((), context.shape, context.weight).exists
            params.exists.copy_(torch.ones_like(params.exists) if allowed is None else allowed)
            params.plastic.fill_(1.0).mul_(params.exists[:, context.shape.plastic])
        elif context.step % max(context.steps // self.times, 1) == 0 or done >= 1.0:
            self._prune(context, self.budget.annealing_factor(context))

    def _prune(self, context: TrainingContext, annealing_factor: float) -> None:
        params, allowed = context.params, self.support.gates((), context.shape, context.weight).exists
        capacity = params.exists.numel() if allowed is None else int(allowed.sum())
        count = self.budget.existing(annealing_factor)(capacity)
        params.exists.copy_(highest(strength(context), params.exists, count))
        if params.plastic.numel():
            there = params.exists[:, context.shape.plastic]
            count = self.budget.carrying(annealing_factor)(int(there.sum()))
            size = context.alpha.abs().expand_as(there)
            before = params.plastic * there
            # a plastic connection may be gone: where fewer than `count` are left, fixed ones become plastic again
            params.plastic.copy_(highest(size + before * (1.0 + size.max()), there, count))
