"""Which units exist: they are added and deleted while the network is trained (Miconi 2016, arXiv 1606.06216).

The paper has two versions. In version A (June and July 2016) each unit's output is multiplied by a coefficient that is
trained under an L1 penalty, and the unit exists while its coefficient is above 0.05. In version B (July and August
2016) there are no coefficients: the outgoing weights themselves are under the penalty, and the unit exists while their
L1 norm is above 0.05. This is version B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.structures import Gates, Shape, Structure, TrainingContext, Weights
from plastic_search.structures._budget import LearnedSubset

_WEIGHT_SPREAD = 0.01  # standard deviation of a new unit's weights
_ALPHA_SPREAD = 0.01  # ... and of its alphas
_FIRST_SQUARE = 0.01  # the optimiser's running mean of squared gradients, for a new unit's weights


class GrownParams(NamedTuple):
    exists: Tensor  # [post], 0 or 1; changed by `adapt_all` only


@dataclass(frozen=True)
class Grown(LearnedSubset):
    """n_j = (sum_k |V_kj| + (K / N) sum_i |W_ij|) / 2; a unit with n_j > threshold is safe, of the others few are kept

    V are the weights from the layer to the K units that receive it, W the recurrent weights among its own N units.
    After each update they shrink: W' = W - shrink sign(W). The layer's `units` are the most that can exist.

    Args:
        start: units that exist at first.
        shrink: A, by which an outgoing weight approaches 0 after each update.
        threshold: T_D, on n_j; a unit at or below it is weak.
        spare: k, the number of weak units that are exempt from deletion.
        adds: P_add, the probability of adding a unit after an update, while fewer than `spare` units are weak.
        deletes: P_del, the probability of deleting each weak unit, but for `spare` of them, drawn anew each time.
        spontaneous: the probability of adding a unit however many are weak; 1e-4 in the released code, not in the text.
        birth: n_j of a new unit, in units of `threshold`: 0.5 in the released code, 1 in the text.
        support: where a connection may be at all, a structure that learns nothing.
    """

    renamed: ClassVar[dict[str, str]] = Structure.renamed | {"unasked": "spontaneous", "least": "threshold"}
    buffers: ClassVar[tuple[str, ...]] = ("exists",)

    start: int = 1
    shrink: float = 1e-4
    threshold: float = 0.05
    spare: int = 1
    adds: float = 0.01
    deletes: float = 0.05
    spontaneous: float = 0.0
    birth: float = 0.5

    def check(self) -> None:
        LearnedSubset.check(self)
        positive(self, "start", "threshold", "birth")
        if not all(0.0 <= p <= 1.0 for p in (self.adds, self.deletes, self.spontaneous)) or self.shrink < 0:
            raise PlasticSearchError(
                f"Grown wants probabilities from 0 to 1 and a shrink from 0, but got adds={self.adds}, "
                f"deletes={self.deletes}, spontaneous={self.spontaneous} and shrink={self.shrink}"
            )
        if self.spare < 0:
            raise PlasticSearchError(f"Grown.spare must be 0 or more, but is {self.spare}")

    def params(self, shape: Shape, rng: Generator) -> GrownParams:
        if self.start > shape.post:
            raise PlasticSearchError(f"Grown starts with {self.start} units, but the layer has room for {shape.post}")
        return GrownParams((torch.arange(shape.post) < self.start).float())

    def gates(self, params: GrownParams, shape: Shape, like: Tensor) -> Gates:
        units = params.exists.detach().to(like)
        columns = torch.cat([units.new_ones(shape.pre - shape.recurrent), units[: shape.recurrent]])
        exists = units.unsqueeze(1) * columns
        allowed = self.support.gates((), shape, like).exists
        exists = exists if allowed is None else exists * allowed
        return Gates(exists, exists[:, shape.plastic], units)

    def adapt_all(self, context: TrainingContext, rngs: Sequence[Generator]) -> None:
        if len(context.outgoing) == bool(context.shape.recurrent):
            raise PlasticSearchError(
                "Grown wants a layer that other layers receive, since a unit's outgoing weights decide whether it "
                "exists; in the last layer use another structure"
            )
        if context.step == 0:
            for k, rng in enumerate(rngs):
                _begin(context.member(k), rng)
            return
        for weight in context.outgoing:
            weight.sub_(weight.sign(), alpha=self.shrink)
        if not (self.adds or self.deletes or self.spontaneous):
            return
        exists = context.params.exists
        weak = (self._norms(context).sum(0) <= self.threshold).to(exists.dtype) * exists
        for k, (rng, count) in enumerate(zip(rngs, weak.sum(1).tolist(), strict=True)):
            add, spontaneous = torch.rand(2, generator=rng).tolist()
            if count > self.spare:
                self._delete(context.member(k), weak[k], rng)
            elif count < self.spare and add < self.adds:
                self._add(context.member(k), rng)
            if spontaneous < self.spontaneous:
                self._add(context.member(k), rng)

    def _norms(self, context: TrainingContext) -> Tensor:
        """The two terms of every unit's n [2, ..., post]: of other layers, and of its own; averaged over drives."""
        exists, others = context.params.exists, context.outgoing[bool(context.shape.recurrent) :]
        forward = torch.stack([v.abs().sum(-2).mean(-2) for v in others]).sum(0)
        if not context.shape.recurrent:
            return torch.stack([forward, torch.zeros_like(forward)]) / 2
        block, allowed = (
            context.outgoing[0].abs().mean(-3),
            self.support.gates((), context.shape, context.weight).exists,
        )
        block = block if allowed is None else block * allowed[:, -context.shape.recurrent :]
        recurrent = (exists.unsqueeze(-2) @ block).squeeze(-2)  # absent units receive nothing
        ratio = sum(v.shape[-2] for v in others) / exists.sum(-1, keepdim=True).clamp_min(1.0)
        return torch.stack([forward, ratio * recurrent]) / 2

    def _delete(self, context: TrainingContext, weak: Tensor, rng: Generator) -> None:
        """Delete each weak unit but `spare` of them, with its probability."""
        indices = weak.nonzero()[:, 0].cpu()
        surplus = indices[torch.randperm(len(indices), generator=rng)[self.spare :]]
        for j in surplus[torch.rand(len(surplus), generator=rng) < self.deletes].tolist():
            context.params.exists[j] = 0.0
            _fill(Weights(context.weight, context.bias, context.outgoing), j, 0.0)

    def _add(self, context: TrainingContext, rng: Generator) -> None:
        """Add a unit at the first free index, if there is one: small incoming weights, n_j = birth threshold."""
        free = (context.params.exists < 0.5).nonzero()[:, 0].tolist()
        if not free:
            return
        j = free[0]
        context.params.exists[j] = 1.0
        context.bias[:, j] = 0.0
        for rows in (context.weight[:, j], *(weight[..., j] for weight in context.outgoing)):
            rows.copy_(_drawn(rows, rng))
        forward, recurrent = self._norms(context)[:, j].tolist()
        target = self.birth * self.threshold / (1 + (recurrent > 0.0))
        for i, weight in enumerate(context.outgoing):
            norm = recurrent if context.shape.recurrent and i == 0 else forward
            weight[..., j] *= target / norm if norm > 0.0 else 1.0
        _draw_alphas(context, j, rng)
        for memory, value in ((context.means, 0.0), (context.squares, _FIRST_SQUARE)):
            if memory is not None:
                _fill(memory, j, value)


def _begin(context: TrainingContext, rng: Generator) -> None:
    """Small random weights into and out of the layer, and biases of 0."""
    for weight in (context.weight, *context.outgoing[bool(context.shape.recurrent) :]):
        weight.copy_(_drawn(weight, rng))
    context.bias.zero_()


def _draw_alphas(context: TrainingContext, j: int, rng: Generator) -> None:
    """Draw anew, as for a new network, the alphas of a new unit's incoming and recurrent outgoing synapses."""
    alpha, shape = context.alpha, context.shape
    if len(alpha) == shape.post:
        alpha[j] = _ALPHA_SPREAD * torch.randn(alpha[j].shape, generator=rng)
    column = shape.pre - shape.recurrent + j - shape.plastic.start
    if shape.recurrent and 0 <= column < alpha.shape[1]:
        alpha[:, column] = _ALPHA_SPREAD * torch.randn(alpha[:, column].shape, generator=rng)


def _drawn(like: Tensor, rng: Generator) -> Tensor:
    return _WEIGHT_SPREAD * torch.randn(like.shape, generator=rng)


def _fill(weights: Weights, j: int, value: float) -> None:
    """Set the incoming weights, the bias and the outgoing weights of unit `j`."""
    for each in (weights.weight[:, j], weights.bias[:, j], *(v[..., j] for v in weights.outgoing)):
        each.fill_(value)
