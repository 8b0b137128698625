"""Hard top-k gates with a soft gradient: the choice of `Gated` and `Pooled`.

The forward pass keeps the highest scores; the backward pass follows a sigmoid around the lowest score that is kept
(straight-through top-k, after Ramanujan et al. 2020, arXiv 1911.13299), so that absent connections get a gradient too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.structures import Gates, Shape
from plastic_search.structures._top import Count, top

__all__ = ["Choice", "Scores", "gates", "initial", "score"]


class Scores(NamedTuple):
    """s_ij = c_ij + a_i + b_j for existing, p_ij for being plastic."""

    exists: Tensor  # c [post, pre], of connections
    post: Tensor  # a [post, 1], of postsynaptic units
    pre: Tensor  # b [1, pre], of presynaptic units
    plastic: Tensor  # p [post, width of the plastic pathway]; width 0 where every connection there is plastic


class Choice(NamedTuple):
    """How many of the highest scores are kept."""

    existing: Count  # of the allowed connections
    plastic: Count  # of the existing connections on the plastic pathway
    columns: slice  # the plastic pathway's
    width: float  # of the sigmoid that carries the gradient, in standard deviations of the scores


def initial(shape: Shape, scored: bool, rng: Generator) -> Scores:
    """Random scores; those for being plastic are left out where they are not `scored`, since nothing is chosen then."""
    width = shape.width
    sizes = (shape.post, shape.pre), (shape.post, 1), (1, shape.pre), (shape.post, width if scored else 0)
    exists, post, pre, plastic = (torch.randn(size, generator=rng) for size in sizes)
    return Scores(0.1 * exists, 0.2 * post, 0.2 * pre, 0.1 * plastic)


def score(params: Any) -> Tensor:
    """The score of each connection for existing [post, pre]."""
    return params.exists + params.post + params.pre


def gates(params: Any, allowed: Tensor | None, choice: Choice) -> Gates:
    """The gates of the highest scores; differentiable in the scores, more than once too.

    Args:
        params: begin with the fields of `Scores`; no gradient reaches those of a layer that is `frozen`.
        allowed: 1 where a connection may exist, else 0 [post, pre]; None allows all.
    """
    scores = [each.detach() for each in params[:4]] if params.frozen else params[:4]
    exists, carrying, *_ = _Selection.apply(*scores, allowed, choice)  # type: ignore[misc]
    if choice.columns.stop == choice.columns.start:
        return Gates(exists, None)
    return Gates(exists, exists[:, choice.columns] if carrying is None else carrying)


class _Selection(torch.autograd.Function):
    """From the four scores, the mask and the choice to both gates, followed by tensors that are only saved.

    The gates are 1 at the highest scores, else 0; that of plasticity is the product with the gate of existence, and
    None where plasticity has no scores. One function for both gates, because a small layer's time is the number of
    calls: a function for each would cost about 8 % of an update of 64 units. For the same reason `forward` names no
    arguments, since `apply` binds them by their signature.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor | None, ...]:
        connections, post, pre, plastic, allowed, choice = inputs
        scores = connections + post + pre
        exists = top(scores, allowed, choice.existing)
        sigmoid = exists.edge, _spread(exists.candidates, choice.width)
        if not plastic.numel():
            return exists.chosen, None, scores, *sigmoid
        carrying = top(plastic, exists.chosen[:, choice.columns], choice.plastic)
        second = carrying.edge, _spread(carrying.candidates, choice.width)
        return exists.chosen, carrying.chosen, scores, *sigmoid, *second

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        *tensors, ctx.choice = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        d_exists, d_carrying, d_plastic = *grads[:2], None
        own, columns = _saved(ctx), ctx.choice.columns
        if d_exists is None:
            d_exists = torch.zeros_like(own.scores)
        if d_carrying is not None:
            there = own.exists[:, columns]
            d_plastic = _through(d_carrying * there, own.plastic, own.second, there.detach())
            sides = columns.start, own.exists.shape[1] - columns.stop
            d_exists = d_exists + torch.nn.functional.pad(d_carrying * own.carrying, sides)
        d_scores = _through(d_exists, own.scores, own.first, own.allowed)
        return d_scores, d_scores.sum(1, keepdim=True), d_scores.sum(0, keepdim=True), d_plastic, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        own, t_carrying = _saved(ctx), None
        t_scores = sum((t for t in tangents[:3] if t is not None), torch.zeros_like(own.scores))
        t_exists = _through(t_scores, own.scores, own.first, own.allowed)
        if own.carrying is not None:
            there = own.exists[:, ctx.choice.columns]
            t_carrying = own.carrying * t_exists[:, ctx.choice.columns]
            if tangents[3] is not None:
                t_carrying = t_carrying + there * _through(tangents[3], own.plastic, own.second, there.detach())
        return t_exists, t_carrying, *[None] * (3 if own.carrying is None else 5)


class _Saved(NamedTuple):
    """The tensors of a selection's derivatives. A sigmoid is (the score at its centre, its scale)."""

    scores: Tensor
    first: Sequence[Tensor]  # the sigmoid of existence
    allowed: Tensor | None
    exists: Tensor
    plastic: Tensor
    second: Sequence[Tensor]  # the sigmoid of plasticity
    carrying: Any  # the choice for plasticity, before the product with `exists`; None where there is none


def _saved(ctx: Any) -> _Saved:
    connections, post, pre, plastic, allowed, exists, carrying, scores, *sigmoids = ctx.saved_tensors
    first, second, width = sigmoids[:2], sigmoids[2:], ctx.choice.width
    if torch.is_grad_enabled():  # as create_graph=True and torch.func do: this derivative may be derived in turn
        scores = connections + post + pre
        first = _sigmoid(scores, exists, allowed, width)
        if carrying is not None:
            there = exists.detach()[:, ctx.choice.columns]
            edge, spread = second
            soft = torch.sigmoid((plastic - edge) / spread) * there
            carrying, second = carrying.detach() + (soft - soft.detach()), _sigmoid(plastic, carrying, there, width)
    return _Saved(scores, first, allowed, exists, plastic, second, carrying)


def _through(grad: Tensor, scores: Tensor, sigmoid: Sequence[Tensor], allowed: Tensor | None) -> Tensor:
    """`grad` times the sigmoid's derivative where a score may be chosen; 0 where none is kept: the edge is infinite."""
    edge, spread = sigmoid
    soft = torch.sigmoid((scores - edge) / spread)
    passed = grad * soft * (1.0 - soft) / spread
    return passed if allowed is None else passed * allowed


def _sigmoid(scores: Tensor, chosen: Tensor, allowed: Tensor | None, width: float) -> tuple[Tensor, Tensor]:
    """The sigmoid of a selection, differentiable in the scores."""
    edge = torch.where(chosen.detach() > 0.5, scores, torch.inf).min()
    return edge, _spread(scores if allowed is None else scores[allowed > 0.5], width)


def _spread(candidates: Tensor, width: float) -> Tensor:
    return width * (candidates.std(correction=0).clamp_min(1e-3) if candidates.numel() else candidates.new_ones(()))
