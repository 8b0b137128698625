"""Which connections exist, and which of those are plastic, learned by gradient under a budget.

Each connection has a score for existing and one for being plastic. The forward pass keeps the best scores, as
many as the budget allows, so what is trained is always the hard network; the backward pass follows a sigmoid
around the score at the budget's edge, so connections that are out can come back (straight-through top-k, after
Ramanujan et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.errors import PlasticSearchError
from plastic_search.structures import Gates, Shape, Structure
from plastic_search.structures.dense import Dense


class GatedParams(NamedTuple):
    exists: Tensor  # [post, pre], scores
    plastic: Tensor  # [post, width of the plastic pathway], scores


@dataclass(frozen=True)
class Gated(Structure):
    """exists = top(s, density), plastic = exists * top(p, plastic); backward through sigmoid((s - edge) / width)"""

    density: float = 0.5  # share of the connections of `within` that exist
    plastic: float = 1.0  # share of the plastic pathway's existing connections that carry a trace
    width: float = 1.0  # of the sigmoid that carries the gradient, in units of the scores' spread

    within: Structure = Dense()  # where a connection may be at all

    @property
    def recurrent(self) -> bool:
        return self.within.recurrent

    def check(self) -> None:
        if not 0.0 < self.density <= 1.0 or not 0.0 <= self.plastic <= 1.0:
            raise PlasticSearchError(
                f"Gated wants shares: 0 < density <= 1 and 0 <= plastic <= 1, but got {self.density} and {self.plastic}"
            )
        if type(self.within).params is not Structure.params:
            raise PlasticSearchError(f"Gated.within wants a structure that learns nothing, but got {self.within}")

    def params(self, shape: Shape, rng: Generator) -> GatedParams:
        width = shape.plastic.stop - shape.plastic.start
        sizes = (shape.post, shape.pre), (shape.post, width)
        return GatedParams(*(0.1 * torch.randn(size, generator=rng) for size in sizes))

    def gates(self, params: GatedParams, shape: Shape, like: Tensor) -> Gates:
        allowed = self.within.gates((), shape, like).exists
        scores = params.exists if allowed is None else params.exists.masked_fill(allowed == 0, -torch.inf)
        room = scores.numel() if allowed is None else int(allowed.sum())
        exists = _top(scores, max(round(self.density * room), min(room, 1)), self.width)
        if params.plastic.numel() == 0:
            return Gates(exists, None)
        eligible = exists[:, shape.plastic]
        alive = eligible.detach() > 0.5
        scores = params.plastic.masked_fill(~alive, -torch.inf)
        plastic = _top(scores, round(self.plastic * int(alive.sum())), self.width)
        return Gates(exists, plastic * eligible)


def _top(scores: Tensor, keep: int, width: float) -> Tensor:
    """1 at the `keep` largest scores, else 0; its gradient is that of a sigmoid around the last score kept."""
    flat = scores.flatten()
    hard = torch.zeros_like(flat)
    if keep == 0:
        return hard.view_as(scores)
    order = flat.detach().argsort(descending=True, stable=True)
    hard[order[:keep]] = 1.0
    known = flat.detach()[flat.detach().isfinite()]
    edge, spread = flat.detach()[order[keep - 1]], known.std(correction=0).clamp_min(1e-3)
    soft = torch.sigmoid((flat - edge) / (width * spread))
    return (hard + (soft - soft.detach())).view_as(scores)  # the difference is exactly 0
