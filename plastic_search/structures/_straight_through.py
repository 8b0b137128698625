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
from plastic_search.structures._top import Count, Top, top, transformed

__all__ = ["Choice", "Scores", "gates", "initial", "score"]


class Scores(NamedTuple):
    """s_ij = c_ij + a_i + b_j for existing, p_ij for being plastic."""

    exists: Tensor  # c [post, pre], of connections
    hearing: Tensor  # a [post, 1], of postsynaptic units
    heard: Tensor  # b [1, pre], of presynaptic units
    plastic: Tensor  # p [post, width of the plastic pathway]; width 0 where every connection there is plastic


class Choice(NamedTuple):
    """How many of the highest scores are kept."""

    existing: Count  # of the allowed connections
    plastic: Count  # of the existing connections on the plastic pathway
    columns: slice  # the plastic pathway's
    width: float  # of the sigmoid that carries the gradient, in standard deviations of the scores


def initial(shape: Shape, scored: bool, rng: Generator) -> Scores:
    """Random scores; those for being plastic are left out where they are not `scored`, since nothing is chosen then."""
    width = shape.plastic.stop - shape.plastic.start
    sizes = (shape.post, shape.pre), (shape.post, 1), (1, shape.pre), (shape.post, width if scored else 0)
    exists, hearing, heard, plastic = (torch.randn(size, generator=rng) for size in sizes)
    return Scores(0.1 * exists, 0.2 * hearing, 0.2 * heard, 0.1 * plastic)


def score(params: Any) -> Tensor:
    """The score of each connection for existing [post, pre]."""
    return params.exists + params.hearing + params.heard


def gates(params: Any, allowed: Tensor | None, choice: Choice) -> Gates:
    """The gates of the highest scores; differentiable in the scores, more than once too.

    Args:
        params: begin with the fields of `Scores`; no gradient reaches those of a layer that is `frozen`.
        allowed: 1 where a connection may exist, else 0 [post, pre]; None allows all.
    """
    choose = _apart if transformed() else _Chosen.apply
    scores = [each.detach() for each in params[:4]] if params.frozen else params[:4]
    exists, learning = choose(*scores, allowed, choice)  # type: ignore[misc]
    if choice.columns.stop == choice.columns.start:
        return Gates(exists, None)
    return Gates(exists, exists[:, choice.columns] if learning is None else learning)


def _choices(own: Sequence[Tensor], allowed: Tensor | None, choice: Choice) -> tuple[Tensor, Top, Top | None]:
    """The score of each connection, the best of them, and the best of those to be plastic, if they have scores."""
    connections, hearing, heard, plastic = own
    scores = connections + hearing + heard
    exists = top(scores, allowed, choice.existing)
    if not plastic.numel():
        return scores, exists, None
    return scores, exists, top(plastic, exists.chosen[:, choice.columns], choice.plastic)


class _Chosen(torch.autograd.Function):
    """1 at the best scores, else 0; its gradient is that of a sigmoid around the last score kept.

    One function for both choices, since what a small layer waits for is the number of calls; `_apart` is the same.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor | None]:
        *own, ctx.allowed, ctx.choice = given
        scores, exists, learning = _choices(own, ctx.allowed, ctx.choice)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*own, scores, *exists, *(learning or ()))
        return exists.chosen, learning.chosen if learning else None

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved, choice = ctx.saved_tensors, ctx.choice
        own, scores, exists = saved[:4], saved[4], Top(*saved[5:8])
        learning = Top(*saved[8:]) if len(saved) > 8 else None
        if torch.is_grad_enabled():  # as create_graph=True does
            made = _joined(own, ctx.allowed, choice, _hard(exists), learning and _hard(learning))
            return *_derived(made, own, grads), None, None
        d_chosen, d_learning, d_plastic = *grads, None
        if d_chosen is None:
            d_chosen = torch.zeros_like(scores)
        if d_learning is not None and learning is not None:
            there = exists.chosen[:, choice.columns]
            d_plastic = _passed(d_learning * there, own[3], learning.edge, learning.candidates, choice.width) * there
            d_chosen = d_chosen.clone()
            d_chosen[:, choice.columns].add_(d_learning * learning.chosen)  # what does not exist is not plastic
        d_scores = _passed(d_chosen, scores, exists.edge, exists.candidates, choice.width)
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
    *own, allowed, choice = given
    return _joined(own, allowed, choice, *_choices(own, allowed, choice)[1:])


def _joined(
    own: Sequence[Tensor], allowed: Tensor | None, choice: Choice, exists: Top, learning: Top | None
) -> tuple[Tensor, Tensor | None]:
    """Both choices, once they are made, each with its gradient."""
    connections, hearing, heard, plastic = own
    width = choice.width
    chosen: Any = _Top.apply(connections + hearing + heard, exists.chosen, allowed, width)
    if learning is None:
        return chosen, None
    there = chosen[:, choice.columns]
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


def _derived(
    made: Sequence[Tensor | None], given: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The derivatives of `given`, which can be derived again.

    Args:
        made: what was made of `given`, by operations that autograd knows.
        grads: those of `made`.
    """
    pairs = [(m, g) for m, g in zip(made, grads, strict=True) if m is not None and g is not None]
    wanted = [t for t in given if t.requires_grad]
    if not pairs or not wanted:
        return [None for _ in given]
    outputs, own = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, own, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in given]
