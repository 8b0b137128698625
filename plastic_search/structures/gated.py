"""Which connections exist, and which of those are plastic, learned by gradient under a budget.

Each connection has a score for existing and one for being plastic; the highest scores are kept, as many as the budget
allows. So a hard network is trained throughout, while a straight-through gradient lets absent connections return
(`_straight_through`). The score for existing is the sum of the connection's own, its postsynaptic unit's and its
presynaptic unit's: units compete as well, and a unit that loses all of its connections can be removed
(`topology.shrink`). Training begins with all connections and anneals to the budget. When it has ended the gates are
frozen, so that a network that is trained further keeps its graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures._straight_through import Choice, gates, initial


class GatedParams(NamedTuple):
    exists: Tensor  # [post, pre]; this and the next three as of `Scores`
    post: Tensor  # [post, 1]
    pre: Tensor  # [1, pre]
    plastic: Tensor  # [post, width of the plastic pathway], or [post, 0]
    annealing_factor: Tensor  # [1], 0 where just the budget is kept, 1 where everything is
    frozen: Tensor  # [1], 1 once training has ended, and the gates are fixed


@dataclass(frozen=True)
class Gated(LearnedSubset):
    """exists = top(s, density), s_ij = c_ij + a_i + b_j; plastic = exists * top(p, plastic); backward as a sigmoid

    Args:
        density: share of the connections of `support` that exist, up to 1; above 1, how many.
        plastic: share of the plastic pathway's existing connections that carry a trace, up to 1; above 1, how many.
        width: scale of the sigmoid that carries the gradient, in standard deviations of the scores.
        annealing_fraction: first share of training, over which the shares fall from 1 to the budget.
        support: where a connection may be at all, a structure that learns nothing.
    """

    buffers: ClassVar[tuple[str, ...]] = ("annealing_factor", "frozen")
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5
    plastic: float = 1.0
    width: float = 1.0
    annealing_fraction: float = 0.7

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support, self.annealing_fraction)

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "width")

    def params(self, shape: Shape, rng: Generator) -> GatedParams:
        return GatedParams(*initial(shape, self.plastic != 1.0, rng), torch.zeros(1), torch.zeros(1))

    def gates(self, params: Any, shape: Shape, like: Tensor) -> Gates:
        budget, factor = self.budget, float(params.annealing_factor.detach())
        choice = Choice(budget.existing(factor), budget.carrying(factor), shape.plastic, self.width)
        return gates(params, self.support.gates((), shape, like).exists, choice)

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params: GatedParams = context.params
        if not params.frozen:
            params.annealing_factor.fill_(self.budget.annealing_factor(context))
            params.frozen.fill_(float(context.step >= context.steps))
