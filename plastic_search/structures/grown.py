"""Which units exist: they are added and deleted while the network is trained (Miconi 2016, arXiv 1606.06216).

Two methods stand under that title. In the first, of June and July 2016 ("version A"), a unit's way to the output is
multiplied by a number of its own that is trained under an L1 penalty, and the unit exists while that number is above
0.05. In the second, of July and August 2016 ("version B"), there are no multipliers: the outgoing weights themselves
are under the penalty, and the unit exists while their L1 norm is above 0.05. This is version B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, TrainingContext, Weights
from plastic_search.structures._budget import LearnedSubset

_REACH = 0.01  # the spread of a new unit's weights
_ALPHA = 0.01  # ... and of its alphas, as a network begins
_SQUARE = 0.01  # what an optimiser is to remember of the squares of a new unit's gradients


class GrownParams(NamedTuple):
    exists: Tensor  # [post], 0 or 1; `adapt` alone changes it


@dataclass(frozen=True)
class Grown(LearnedSubset):
    """n_j = (sum_k |V_kj| + (K / N) sum_i |W_ij|) / 2; a unit with n_j > least is safe, of the others few are kept

    After each update the weights that leave the layer's units shrink, W' = W - shrink sign(W): V, to the K units that
    hear the layer, and W, to the layer's own N units. The layer's `units` are the most that there can be.

    Args:
        start: units that exist at first.
        shrink: A, by which an outgoing weight goes towards 0 after each update.
        least: T_D, the threshold on n_j.
        spare: k, how many units may lie below it.
        adds: P_add, the probability of adding one after an update, where fewer do.
        deletes: P_del, the probability of deleting each that lies below it, but for `spare` of them, drawn anew.
        unasked: the probability of adding one, however many lie below it; 1e-4 in the released code, not in the text.
        birth: n_j of a new unit, in units of `least`: 0.5 in the released code, 1 in the text.
        support: where a connection may be at all.
    """

    buffers: ClassVar[tuple[str, ...]] = ("exists",)

    start: int = 1
    shrink: float = 1e-4
    least: float = 0.05
    spare: int = 1
    adds: float = 0.01
    deletes: float = 0.05
    unasked: float = 0.0
    birth: float = 0.5

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "start", "least", "birth")
        if not all(0.0 <= p <= 1.0 for p in (self.adds, self.deletes, self.unasked)) or self.shrink < 0:
            raise PlasticSearchError(
                f"Grown wants probabilities from 0 to 1 and a shrink from 0, but got adds={self.adds}, "
                f"deletes={self.deletes}, unasked={self.unasked} and shrink={self.shrink}"
            )
        if self.spare < 0:
            raise PlasticSearchError(f"Grown.spare must be 0 or more, but is {self.spare}")

    def params(self, shape: Shape, rng: Generator) -> GrownParams:
        if self.start > shape.post:
            raise PlasticSearchError(f"Grown starts with {self.start} units, but the layer has room for {shape.post}")
        return GrownParams((torch.arange(shape.post) < self.start).float())

    def gates(self, params: GrownParams, shape: Shape, like: Tensor) -> Gates:
        units = params.exists.detach().to(like)
        heard = torch.cat([units.new_ones(shape.pre - shape.recurrent), units[: shape.recurrent]])
        exists = units.unsqueeze(1) * heard
        allowed = self.support.gates((), shape, like).exists
        exists = exists if allowed is None else exists * allowed
        return Gates(exists, exists[:, shape.plastic], units)

    def adapt_all(self, context: TrainingContext, rngs: Sequence[Generator]) -> None:
        if len(context.outgoing) == bool(context.shape.recurrent):
            raise PlasticSearchError(
                "Grown wants a layer that others hear, since what leaves a unit decides whether it exists; "
                "in the last layer use another structure"
            )
        if context.step == 0:
            for k, rng in enumerate(rngs):
                _begin(context.member(k), rng)
            return
        for weight in context.outgoing:
            weight.sub_(weight.sign(), alpha=self.shrink)
        if not (self.adds or self.deletes or self.unasked):
            return
        exists = context.params.exists
        low = (self._strengths(context).sum(0) <= self.least).to(exists.dtype) * exists
        for k, (rng, count) in enumerate(zip(rngs, low.sum(1).tolist(), strict=True)):
            asked, unasked = torch.rand(2, generator=rng).tolist()
            if count > self.spare:
                self._delete(context.member(k), low[k], rng)
            elif count < self.spare and asked < self.adds:
                self._add(context.member(k), rng)
            if unasked < self.unasked:
                self._add(context.member(k), rng)

    def _strengths(self, context: TrainingContext) -> Tensor:
        """The two halves of every unit's n [2, ..., post]. Several drives give their mean, absent units nothing."""
        exists, others = context.params.exists, context.outgoing[bool(context.shape.recurrent) :]
        said = torch.stack([v.abs().sum(-2).mean(-2) for v in others]).sum(0)
        if not context.shape.recurrent:
            return torch.stack([said, torch.zeros_like(said)]) / 2
        own, allowed = context.outgoing[0].abs().mean(-3), self.support.gates((), context.shape, context.weight).exists
        own = own if allowed is None else own * allowed[:, -context.shape.recurrent :]
        heard = (exists.unsqueeze(-2) @ own).squeeze(-2)
        share = sum(v.shape[-2] for v in others) / exists.sum(-1, keepdim=True).clamp_min(1.0)
        return torch.stack([said, share * heard]) / 2

    def _delete(self, context: TrainingContext, low: Tensor, rng: Generator) -> None:
        """All of the low units but `spare`, each with its probability."""
        below = low.nonzero()[:, 0].cpu()
        surplus = below[torch.randperm(len(below), generator=rng)[self.spare :]]
        for j in surplus[torch.rand(len(surplus), generator=rng) < self.deletes].tolist():
            context.params.exists[j] = 0.0
            _fill(Weights(context.weight, context.bias, context.outgoing), j, 0.0)

    def _add(self, context: TrainingContext, rng: Generator) -> None:
        """One unit in the first place that is free, if one is. It hears faintly, and says as much as `birth` tells."""
        free = (context.params.exists < 0.5).nonzero()[:, 0].tolist()
        if not free:
            return
        j = free[0]
        context.params.exists[j] = 1.0
        context.bias[:, j] = 0.0
        for rows in (context.weight[:, j], *(weight[..., j] for weight in context.outgoing)):
            rows.copy_(_drawn(rows, rng))
        now, first = self._strengths(context)[:, j].tolist(), bool(context.shape.recurrent)
        wanted = self.birth * self.least / (1 + (now[1] > 0.0))
        for i, weight in enumerate(context.outgoing):
            found = now[1] if first and i == 0 else now[0]
            weight[..., j] *= wanted / found if found > 0.0 else 1.0
        _forget(context, j, rng)
        for memory, value in ((context.means, 0.0), (context.squares, _SQUARE)):
            if memory is not None:
                _fill(memory, j, value)


def _begin(context: TrainingContext, rng: Generator) -> None:
    """All weights from and to the layer are small, its biases 0."""
    for weight in (context.weight, *context.outgoing[bool(context.shape.recurrent) :]):
        weight.copy_(_drawn(weight, rng))
    context.bias.zero_()


def _forget(context: TrainingContext, j: int, rng: Generator) -> None:
    """The alphas of a new unit, and of those of its layer that hear it, begin as a network's do."""
    alpha, shape = context.alpha, context.shape
    if len(alpha) == shape.post:
        alpha[j] = _ALPHA * torch.randn(alpha[j].shape, generator=rng)
    column = shape.pre - shape.recurrent + j - shape.plastic.start
    if shape.recurrent and 0 <= column < alpha.shape[1]:
        alpha[:, column] = _ALPHA * torch.randn(alpha[:, column].shape, generator=rng)


def _drawn(like: Tensor, rng: Generator) -> Tensor:
    return _REACH * torch.randn(like.shape, generator=rng)


def _fill(weights: Weights, j: int, value: float) -> None:
    """Of unit `j`, what it hears, its bias, and what it says."""
    for each in (weights.weight[:, j], weights.bias[:, j], *(v[..., j] for v in weights.outgoing)):
        each.fill_(value)
