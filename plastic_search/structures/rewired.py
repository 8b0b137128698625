"""Which connections exist, and which of those are plastic: the weakest are dropped, others grow by their gradient.

A network begins with random connections, as many as the budget allows. At regular intervals the existing ones of least
magnitude are dropped, and as many grow where the gradient of the loss is largest, with weight 0 (RigL, Evci et al.
2020, arXiv 1911.11134). The number that is exchanged falls to 0 on a cosine over the first three quarters of training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import Budget, LearnedSubset
from plastic_search.structures._top import best, highest, strength


class RewiredParams(NamedTuple):
    exists: Tensor  # [post, pre], 0 or 1
    plastic: Tensor  # [post, width of the plastic pathway], 0 or 1
    probe: Tensor  # [post, pre], added to the gates and of no effect on them; its gradient is that of each gate
    plastic_probe: Tensor  # [post, width of the plastic pathway], likewise
    frozen: Tensor  # [1], 1 once training has ended, and the connections are fixed


@dataclass(frozen=True)
class Rewired(LearnedSubset):
    """drop the exchanged share of least |w| + |alpha|, grow where |dL/dw| is largest

    Args:
        density: share of the connections of `support` that exist, up to 1; above 1, how many.
        plastic: share of the plastic pathway's existing connections that carry a trace, up to 1; above 1, how many.
        exchanged: share of the existing connections that are exchanged at a time, at first; 0 keeps a random mask.
        times: number of exchanges, if they went on to the end of training.
        support: where a connection may be at all, a structure that learns nothing.
    """

    buffers: ClassVar[tuple[str, ...]] = ("exists", "plastic", "frozen")
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5
    plastic: float = 1.0
    exchanged: float = 0.3
    times: int = 40

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support)

    def check(self) -> None:
        LearnedSubset.check(self)
        if not 0.0 <= self.exchanged <= 1.0:
            raise PlasticSearchError(f"Rewired.exchanged is a share, 0 to 1, but is {self.exchanged}")
        positive(self, "times")

    def params(self, shape: Shape, rng: Generator) -> RewiredParams:
        width = shape.width
        like = torch.zeros(shape.post, shape.pre)
        allowed = self.support.gates((), shape, like).exists
        exists = best(torch.rand(like.shape, generator=rng), allowed, self.density, least=1)
        plastic = best(torch.rand(shape.post, width, generator=rng), exists[:, shape.plastic], self.plastic)
        return RewiredParams(exists, plastic, torch.zeros_like(exists), torch.zeros_like(plastic), torch.zeros(1))

    def gates(self, params: RewiredParams, shape: Shape, like: Tensor) -> Gates:
        exists = params.exists.detach() + (params.probe - params.probe.detach())
        if params.plastic.numel() == 0:
            return Gates(exists, None)
        return Gates(exists, params.plastic.detach() + (params.plastic_probe - params.plastic_probe.detach()))

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params: RewiredParams = context.params
        if params.frozen:
            return
        # absent weights share one value, so that the gradients of their gates, w dL/dw, are comparable
        absent = context.shape.pre**-0.5
        params.frozen.fill_(float(context.step >= context.steps))
        if context.step == 0:
            context.weight.masked_fill_(params.exists < 0.5, absent)
        every = max(context.steps // self.times, 1)
        part = self.exchanged * 0.5 * (1.0 + math.cos(math.pi * min(context.step / (0.75 * context.steps), 1.0)))
        if context.step == 0 or context.step % every or context.grads.probe is None:
            return
        count = round(part * int(params.exists.sum()))
        allowed = self.support.gates((), context.shape, context.weight).exists
        dropped, grown = _exchange(params.exists, strength(context), context.grads.probe.abs(), allowed, count)
        params.exists[dropped] = 0.0
        params.exists[grown] = 1.0
        context.weight[:, dropped] = absent
        context.weight[:, grown] = 0.0
        self._exchange_traces(context, part)

    def _exchange_traces(self, context: TrainingContext, part: float) -> None:
        """The same for traces; the gradient of its gate, open or closed, is the score of a trace for both steps."""
        params = context.params
        if params.plastic.numel() == 0 or context.grads.plastic_probe is None:
            return
        there, scores = params.exists[:, context.shape.plastic], context.grads.plastic_probe.abs()
        kept = params.plastic * there
        count = self.budget.carrying()(int(there.sum()))
        dropped, _ = _exchange(kept, scores, scores, there, round(part * int(kept.sum())))
        kept[dropped] = 0.0
        params.plastic.copy_(highest(scores + kept * (1.0 + scores.max()), there, count))


def _exchange(
    exists: Tensor, strength: Tensor, scores: Tensor, allowed: Tensor | None, count: int
) -> tuple[Tensor, Tensor]:
    """Two masks: the `count` weakest existing connections, and the `count` absent ones of highest score."""
    there = exists > 0.5
    free = ~there if allowed is None else ~there & (allowed > 0.5)
    count = min(count, int(free.sum()), int(there.sum()))
    dropped = highest(-strength, there.to(strength.dtype), count) > 0.5
    grown = highest(scores, free.to(scores.dtype), count) > 0.5
    return dropped, grown
