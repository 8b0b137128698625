"""Which connections exist, and which of those are plastic: the weakest go, others come where they are asked for.

The network begins with random connections, as many as the budget allows. Now and then the existing ones of least
magnitude are dropped, and as many come back where the gradient of the loss is largest, with weight 0 (RigL, Evci et al.
2020). The number that is exchanged falls to nothing over the first three quarters of training.
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
    plastic: Tensor  # [post, width of the plastic pathway], 0 or 1; likewise
    asked: Tensor  # [post, pre], always 0; its gradient tells what a connection would be worth
    asked_plastic: Tensor  # [post, width of the plastic pathway]
    frozen: Tensor  # [1], 1 once training has ended, and the connections are fixed


@dataclass(frozen=True)
class Rewired(LearnedSubset):
    """drop the exchanged share of least |w| + |alpha|, grow where |dL/dw| is largest"""

    buffers: ClassVar[tuple[str, ...]] = ("exists", "plastic", "frozen")
    uses_outgoing: ClassVar[bool] = False

    density: float = 0.5  # share of the connections of `support` that exist; above 1, how many
    plastic: float = 1.0  # share of the plastic pathway's existing connections that carry a trace; or how many
    exchanged: float = 0.3  # share of the existing connections, at first
    times: int = 40  # how often, were it to go on to the end of training

    @property
    def budget(self) -> Budget:
        return Budget(self.density, self.plastic, self.support)

    def check(self) -> None:
        LearnedSubset.check(self)
        if not 0.0 <= self.exchanged <= 1.0:
            raise PlasticSearchError(f"Rewired.exchanged is a share, 0 to 1, but is {self.exchanged}")
        positive(self, "times")

    def params(self, shape: Shape, rng: Generator) -> RewiredParams:
        width = shape.plastic.stop - shape.plastic.start
        like = torch.zeros(shape.post, shape.pre)
        allowed = self.support.gates((), shape, like).exists
        exists = best(torch.rand(like.shape, generator=rng), allowed, self.density, least=1)
        heard = exists[:, shape.plastic]
        plastic = best(torch.rand(shape.post, width, generator=rng), heard, self.plastic, least=0)
        return RewiredParams(exists, plastic, torch.zeros_like(exists), torch.zeros_like(plastic), torch.zeros(1))

    def gates(self, params: RewiredParams, shape: Shape, like: Tensor) -> Gates:
        exists = params.exists.detach() + (params.asked - params.asked.detach())
        if params.plastic.numel() == 0:
            return Gates(exists, None)
        return Gates(exists, params.plastic.detach() + (params.asked_plastic - params.asked_plastic.detach()))

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params, unit = (
            context.params,
            context.shape.pre**-0.5,
        )  # of absent weights, so that their gates' gradients compare
        if params.frozen:
            return
        params.frozen.fill_(float(context.step >= context.steps))
        if context.step == 0:
            context.weight.masked_fill_(params.exists < 0.5, unit)
        every = max(context.steps // self.times, 1)
        part = self.exchanged * 0.5 * (1.0 + math.cos(math.pi * min(context.step / (0.75 * context.steps), 1.0)))
        if context.step == 0 or context.step % every or context.grads.asked is None:
            return
        count = round(part * int(params.exists.sum()))
        allowed = self.support.gates((), context.shape, context.weight).exists
        gone, come = _exchange(params.exists, strength(context), context.grads.asked.abs(), allowed, count)
        params.exists[gone] = 0.0
        params.exists[come] = 1.0
        context.weight[:, gone] = unit
        context.weight[:, come] = 0.0
        self._plasticity(context, part)

    def _plasticity(self, context: TrainingContext, part: float) -> None:
        """The same for traces, where a trace is worth what its gate's gradient says, be it open or shut."""
        params = context.params
        if params.plastic.numel() == 0 or context.grads.asked_plastic is None:
            return
        heard, worth = params.exists[:, context.shape.plastic], context.grads.asked_plastic.abs()
        kept = params.plastic * heard
        room = int(heard.sum())
        wanted = self.budget.carrying()(room)
        gone, _ = _exchange(kept, worth, worth, heard, round(part * int(kept.sum())))
        kept[gone] = 0.0
        params.plastic.copy_(highest(worth + kept * (1.0 + worth.max()), heard, wanted))


def _exchange(
    exists: Tensor, strength: Tensor, worth: Tensor, allowed: Tensor | None, count: int
) -> tuple[Tensor, Tensor]:
    """Where the weakest `count` are that exist, and where the worthiest are that do not; masks."""
    there = exists > 0.5
    free = ~there if allowed is None else ~there & (allowed > 0.5)
    count = min(count, int(free.sum()), int(there.sum()))
    gone = highest(-strength, there.to(strength.dtype), count) > 0.5
    come = highest(worth, free.to(worth.dtype), count) > 0.5
    return gone, come
