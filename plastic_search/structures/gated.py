"""Which connections exist, and which of those are plastic, learned by gradient under a budget.

Each connection has a score for existing and one for being plastic. The forward pass keeps the best scores, as
many as the budget allows, so what is trained is always a hard network; the backward pass follows a sigmoid
around the score at the budget's edge, so connections that are out can come back (straight-through top-k, after
Ramanujan et al. 2020). A connection's score for existing is its own, that of the unit which hears and that of the one
which is heard: so units compete too, and those that lose all of their connections can go (`topology.shrink`).
Training begins with all connections, and narrows to the budget while it goes on. When it has ended the gates are fixed,
so that a network that is trained on keeps its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._adaptive import Budgeted, annealed, annealing_factor, derived
from plastic_search.structures._top import Top, share, top, transformed


class GatedParams(NamedTuple):
    exists: Tensor  # [post, pre], scores of connections
    hearing: Tensor  # [post, 1], of the units that hear
    heard: Tensor  # [1, pre], of the units that are heard
    plastic: Tensor  # [post, width of the plastic pathway], scores; width 0 where all that exists there is plastic
    annealing_factor: Tensor  # [1], 0 where just the budget is kept, 1 where everything is
    frozen: Tensor  # [1], 1 once training has ended, and the gates are fixed


@dataclass(frozen=True)
class Gated(Budgeted):
    """exists = top(s, density), s_ij = c_ij + a_i + b_j; plastic = exists * top(p, plastic); backward as a sigmoid"""

    buffers: ClassVar[tuple[str, ...]] = ("annealing_factor", "frozen")

    width: float = 1.0  # of the sigmoid that carries the gradient, in units of the scores' spread

    annealing_fraction: float = 0.7  # first share of training, over which the shares fall from 1 to the budget

    def check(self) -> None:
        Budgeted.check(self)
        name = type(self).__name__
        if not self.width > 0.0:
            raise PlasticSearchError(f"{name}.width must be above 0, but is {self.width}")
        if not 0.0 <= self.annealing_fraction <= 1.0:
            raise PlasticSearchError(
                f"{name}.annealing_fraction is a share of training, 0 to 1, but is {self.annealing_fraction}"
            )

    def params(self, shape: Shape, rng: Generator) -> Any:
        width = shape.width
        chosen = 0 if self.plastic == 1.0 else width  # scores that have nothing to choose would only cost, and mislead
        sizes = (shape.post, shape.pre), (shape.post, 1), (1, shape.pre), (shape.post, chosen)
        exists, hearing, heard, plastic = (torch.randn(size, generator=rng) for size in sizes)
        return GatedParams(0.1 * exists, 0.2 * hearing, 0.2 * heard, 0.1 * plastic, torch.zeros(1), torch.zeros(1))

    def gates(self, params: Any, shape: Shape, like: Tensor) -> Gates:
        own = params[:4]
        if params.frozen:
            own = [each.detach() for each in own]
        allowed = self.support.gates((), shape, like).exists
        choose = _apart if transformed() else _Chosen.apply
        exists, learning = choose(*own, allowed, _Told(self, params, shape))  # type: ignore[misc]
        if not shape.width:
            return Gates(exists, None)
        return Gates(exists, exists[:, shape.plastic] if learning is None else learning)

    def kept(self, params: Any, room: float) -> float:
        """Which share of a layer's connections exists at this time."""
        return annealed(share(self.density, room), float(params.annealing_factor.detach()))

    def kept_plastic(self, params: Any, room: float) -> float:
        """Which share of those on the plastic pathway carries a trace."""
        return annealed(share(self.plastic, room), float(params.annealing_factor.detach()))

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params = context.params
        if not params.frozen:
            params.annealing_factor.fill_(annealing_factor(context, self.annealing_fraction))
            if context.step >= context.steps:
                params.frozen.fill_(1.0)


def worth(params: Any) -> Tensor:
    """The score of each connection [post, pre]."""
    return params.exists + params.hearing + params.heard


class _Told(NamedTuple):
    """What a choice among scores is told beside them."""

    structure: Gated
    params: Any
    shape: Shape


def _choices(own: Sequence[Tensor], allowed: Tensor | None, told: _Told) -> tuple[Tensor, Top, Top | None]:
    """The score of each connection, the best of them, and the best of those to be plastic, if they have scores."""
    connections, hearing, heard, plastic = own
    scores, structure = connections + hearing + heard, told.structure
    room = scores.numel() if allowed is None else float(allowed.sum())
    exists = top(scores, allowed, structure.kept(told.params, room), 1)
    if not plastic.numel():
        return scores, exists, None
    there = exists.chosen[:, told.shape.plastic]
    return scores, exists, top(plastic, there, structure.kept_plastic(told.params, float(there.sum())))


class _Chosen(torch.autograd.Function):
    """1 at the best scores, else 0; its gradient is that of a sigmoid around the last score kept.

    One function for both choices, since what a small layer waits for is the number of calls; `_apart` is the same.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor | None]:
        *own, ctx.allowed, ctx.told = given
        scores, exists, learning = _choices(own, ctx.allowed, ctx.told)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*own, scores, *exists, *(learning or ()))
        return exists.chosen, learning.chosen if learning else None

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved, told = ctx.saved_tensors, ctx.told
        own, scores, exists = saved[:4], saved[4], Top(*saved[5:8])
        learning = Top(*saved[8:]) if len(saved) > 8 else None
        if torch.is_grad_enabled():  # as create_graph=True does
            made = _joined(own, ctx.allowed, told, _hard(exists), learning and _hard(learning))
            return *derived(made, own, grads), None, None
        columns, width = told.shape.plastic, told.structure.width
        d_chosen, d_learning, d_plastic = *grads, None
        if d_chosen is None:
            d_chosen = torch.zeros_like(scores)
        if d_learning is not None and learning is not None:
            there = exists.chosen[:, columns]
            d_plastic = _passed(d_learning * there, own[3], learning.edge, learning.known, width) * there
            d_chosen = d_chosen.clone()
            d_chosen[:, columns].add_(d_learning * learning.chosen)  # what does not exist is not plastic
        d_scores = _passed(d_chosen, scores, exists.edge, exists.known, width)
        if ctx.allowed is not None:
            d_scores = d_scores * ctx.allowed
        return d_scores, d_scores.sum(1, keepdim=True), d_scores.sum(0, keepdim=True), d_plastic, None, None


def _hard(best: Top) -> Top:
    return Top(*(each.detach() for each in best))


def _passed(grad: Tensor, scores: Tensor, edge: Tensor, known: Tensor, width: float) -> Tensor:
    """The derivative of what is chosen, as a sigmoid around the edge has it; where none is kept, nothing passes."""
    spread = width * (known.std(correction=0).clamp_min(1e-3) if known.numel() else known.new_ones(()))
    soft = torch.sigmoid((scores - edge) / spread)
    return grad * soft * (1.0 - soft) / spread


def _apart(*given: Any) -> tuple[Tensor, Tensor | None]:
    """What `_Chosen` is, of operations that torch.func looks into, and that can be derived more than once."""
    *own, allowed, told = given
    return _joined(own, allowed, told, *_choices(own, allowed, told)[1:])


def _joined(
    own: Sequence[Tensor], allowed: Tensor | None, told: _Told, exists: Top, learning: Top | None
) -> tuple[Tensor, Tensor | None]:
    """Both choices, once they are made, each with its gradient."""
    connections, hearing, heard, plastic = own
    width = told.structure.width
    chosen: Any = _Top.apply(connections + hearing + heard, exists.chosen, allowed, width)
    if learning is None:
        return chosen, None
    there = chosen[:, told.shape.plastic]
    made: Any = _Top.apply(plastic, learning.chosen, there.detach(), width)
    return chosen, made * there


class _Top(torch.autograd.Function):
    """What is chosen, with the gradient of a sigmoid around the last score kept."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, chosen: Tensor, allowed: Tensor | None, width: float) -> Tensor:
        return chosen.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.width = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Top.jvp(ctx, *grads), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        scores, chosen, allowed = ctx.saved_tensors
        edge = torch.where(chosen > 0.5, scores, torch.inf).min()
        passed = _passed(tangents[0], scores, edge, scores if allowed is None else scores[allowed > 0.5], ctx.width)
        return passed if allowed is None else passed * allowed
