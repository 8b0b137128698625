"""Gates with one budget for several layers: the network finds where to spend it.

Connections are chosen as by `Gated`, but those of one layer compete with those of all others in the pool, so a layer
with higher scores gets more of them. The split among layers is made between updates; within a layer the choice follows
the scores at every episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures._straight_through import Choice, gates, initial, score
from plastic_search.structures._top import Count, best, share, top


class PooledParams(NamedTuple):
    exists: Tensor  # [post, pre]; this and the next three as of `Scores`
    post: Tensor  # [post, 1]
    pre: Tensor  # [1, pre]
    plastic: Tensor  # [post, width of the plastic pathway], or [post, 0]
    annealing_factor: Tensor  # [1], 0 where just the budget is kept, 1 where everything is
    frozen: Tensor  # [1], 1 once training has ended, and the gates are fixed
    counts: Tensor  # [2], how many of the layer's connections exist, and how many of them carry a trace


@dataclass(frozen=True)
class Pooled(LearnedSubset):
    """exists = top over all layers in the pool (s, density), s_ij = c_ij + a_i + b_j; plastic likewise

    Layers are in one pool whose structures are alike in all but `support`. `density` is a share of all connections,
    or how many, at least one in each layer; `plastic` of those that exist on their plastic pathways. Until a network
    has been trained, each layer has its own share.

    Args:
        density: share of the connections of all layers' `support` that exist, up to 1; above 1, how many.
        plastic: share of the plastic pathways' existing connections that carry a trace, up to 1; above 1, how many.
        width: scale of the sigmoid that carries the gradient, in standard deviations of the scores.
        annealing_fraction: first share of training, over which the shares fall from 1 to the budget.
        support: where a connection may be at all, a structure that learns nothing.
    """

    buffers: ClassVar[tuple[str, ...]] = ("annealing_factor", "frozen", "counts")
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5
    plastic: float = 1.0
    width: float = 1.0
    annealing_fraction: float = 0.7

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support, self.annealing_fraction)

    @property
    def pool(self) -> tuple[Any, ...]:
        return type(self), self.density, self.plastic, self.width, self.annealing_fraction

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "width")

    def params(self, shape: Shape, rng: Generator) -> PooledParams:
        scores = initial(shape, self.plastic != 1.0, rng)
        exists = best(score(scores), self.support.gates((), shape, scores.exists).exists, self.density, 1)
        there = exists[:, shape.plastic].sum()
        counts = torch.stack([exists.sum(), (share(self.plastic, float(there)) * there).round()])
        return PooledParams(*scores, torch.zeros(1), torch.zeros(1), counts)

    def gates(self, params: PooledParams, shape: Shape, like: Tensor) -> Gates:
        existing, carrying = (int(count) for count in params.counts.detach().tolist())
        choice = Choice(
            lambda capacity: min(max(existing, 1), capacity),
            lambda capacity: min(carrying, capacity),
            shape.plastic,
            self.width,
        )
        return gates(params, self.support.gates((), shape, like).exists, choice)

    def adapt_pool(self, layers: Sequence[tuple[Any, TrainingContext]]) -> None:
        contexts = [context for _, context in layers]
        params: list[PooledParams] = [context.params for context in contexts]
        if all(each.frozen for each in params):
            return
        budget, ended = self.budget, contexts[0].step >= contexts[0].steps
        factor = budget.annealing_factor(contexts[0])
        if ended and all(each.annealing_factor == 0.0 for each in params):
            for each in params:  # the last counts are of the last scores that were trained
                each.frozen.fill_(1.0)
            return
        allowed = [own.support.gates((), context.shape, context.weight).exists for own, context in layers]
        exists = _chosen([score(each) for each in params], allowed, budget.existing(factor), True)
        there = [each[:, context.shape.plastic] for each, context in zip(exists, contexts, strict=True)]
        carrying = there
        if self.plastic != 1.0:
            carrying = _chosen([each.plastic for each in params], there, budget.carrying(factor), False)
        for each, *masks in zip(params, exists, carrying, strict=True):
            each.annealing_factor.fill_(factor)
            if ended:
                each.frozen.fill_(1.0)
            each.counts.copy_(torch.stack([mask.sum() for mask in masks]))


def _chosen(scores: list[Tensor], allowed: Sequence[Tensor | None], count: Count, each_layer: bool) -> list[Tensor]:
    """1 at the highest scores of all layers, else 0; with `each_layer`, at the highest of each layer in any case."""
    joined, mask = torch.cat([each.flatten() for each in scores]), None
    if any(each is not None for each in allowed):
        full = [torch.ones_like(s) if a is None else a for s, a in zip(scores, allowed, strict=True)]
        mask = torch.cat([each.flatten() for each in full])
    sizes = [each.numel() for each in scores]

    def at_least(capacity: int) -> int:
        return min(max(count(capacity), len(scores) if each_layer else 0), capacity)

    chosen = top(joined, mask, at_least).chosen
    if each_layer and len(scores) > 1 and not all(part.any() for part in chosen.split(sizes)):
        candidates = torch.ones_like(joined) if mask is None else mask
        for part, there in zip(joined.split(sizes), candidates.split(sizes), strict=True):
            part[part.masked_fill(there < 0.5, -torch.inf).argmax()] = torch.inf
        chosen = top(joined, mask, at_least).chosen
    return [part.view_as(each) for part, each in zip(chosen.split(sizes), scores, strict=True)]
