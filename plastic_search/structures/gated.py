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

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.errors import PlasticSearchError
from plastic_search.structures import Gates, Shape, Site, best, share
from plastic_search.structures._adaptive import Budgeted, narrowed, opened


class GatedParams(NamedTuple):
    exists: Tensor  # [post, pre], scores of connections
    hearing: Tensor  # [post, 1], of the units that hear
    heard: Tensor  # [1, pre], of the units that are heard
    plastic: Tensor  # [post, width of the plastic pathway], scores; width 0 where all that exists there is plastic
    opened: Tensor  # [1], 0 where just the budget is kept, 1 where everything is
    settled: Tensor  # [1], 1 once training has ended, and the gates are fixed


@dataclass(frozen=True)
class Gated(Budgeted):
    """exists = top(s, density), s_ij = c_ij + a_i + b_j; plastic = exists * top(p, plastic); backward as a sigmoid"""

    held: ClassVar[tuple[str, ...]] = ("opened", "settled")

    width: float = 1.0  # of the sigmoid that carries the gradient, in units of the scores' spread

    narrowing: float = 0.7  # first share of training, over which the shares fall from 1 to the budget

    def check(self) -> None:
        Budgeted.check(self)
        name = type(self).__name__
        if not self.width > 0.0:
            raise PlasticSearchError(f"{name}.width must be above 0, but is {self.width}")
        if not 0.0 <= self.narrowing <= 1.0:
            raise PlasticSearchError(f"{name}.narrowing is a share of training, 0 to 1, but is {self.narrowing}")

    def params(self, shape: Shape, rng: Generator) -> Any:
        width = shape.plastic.stop - shape.plastic.start
        chosen = 0 if self.plastic == 1.0 else width  # scores that have nothing to choose would only cost, and mislead
        sizes = (shape.post, shape.pre), (shape.post, 1), (1, shape.pre), (shape.post, chosen)
        exists, hearing, heard, plastic = (torch.randn(size, generator=rng) for size in sizes)
        return GatedParams(0.1 * exists, 0.2 * hearing, 0.2 * heard, 0.1 * plastic, torch.zeros(1), torch.zeros(1))

    def gates(self, params: Any, shape: Shape, like: Tensor) -> Gates:
        scores = type(params)(*(each.detach() for each in params)) if params.settled else params
        allowed = self.within.gates((), shape, like).exists
        room = scores.exists.numel() if allowed is None else float(allowed.sum())
        exists = _top(worth(scores), allowed, self.kept(params, room), 1, self.width)
        if shape.plastic.stop == shape.plastic.start:
            return Gates(exists, None)
        heard = exists[:, shape.plastic]
        if self.plastic == 1.0:
            return Gates(exists, heard)
        some = self.kept_plastic(params, float(heard.detach().sum()))
        return Gates(exists, _top(scores.plastic, heard, some, 0, self.width) * heard)

    def kept(self, params: Any, room: float) -> float:
        """Which share of a layer's connections exists at this time."""
        return narrowed(share(self.density, room), float(params.opened.detach()))

    def kept_plastic(self, params: Any, room: float) -> float:
        """Which share of those on the plastic pathway carries a trace."""
        return narrowed(share(self.plastic, room), float(params.opened.detach()))

    def adapt(self, site: Site, rng: Generator) -> None:
        params = site.params
        if not params.settled:
            params.opened.fill_(opened(site, self.narrowing))
            params.settled.fill_(float(site.step >= site.steps))


def worth(params: Any) -> Tensor:
    """The score of each connection [post, pre]."""
    return params.exists + params.hearing + params.heard


def _top(scores: Tensor, allowed: Tensor | None, kept: float, least: int, width: float) -> Tensor:
    """1 at the best scores, else 0; its gradient is that of a sigmoid around the last score kept."""
    return _Top.apply(scores, None if allowed is None else allowed.detach(), kept, least, width)  # type: ignore[return-value]


class _Top(torch.autograd.Function):
    @staticmethod
    def forward(scores: Tensor, allowed: Tensor | None, kept: float, least: int, width: float) -> Tensor:
        return best(scores, allowed, kept, least)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        scores, allowed, _, _, ctx.width = inputs
        ctx.save_for_backward(scores, allowed, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        scores, allowed, hard = ctx.saved_tensors
        edge = torch.where(hard > 0.5, scores, torch.inf).min()  # infinite where none is kept: then nothing passes
        known = scores if allowed is None else scores[allowed > 0.5]
        spread = known.std(correction=0).clamp_min(1e-3) if known.numel() else scores.new_ones(())
        soft = torch.sigmoid((scores - edge) / (ctx.width * spread))
        d_soft = grads[0] * soft * (1.0 - soft) / (ctx.width * spread)
        return d_soft if allowed is None else d_soft * (allowed > 0.5), None, None, None, None
