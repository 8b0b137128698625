"""Gates whose budget is that of all layers that have them: the network finds where to spend it.

Connections are chosen as by `Gated`, but those of one layer compete with those of all others in the pool, so a layer
that needs more gets more. The choice among layers is made between updates; within a layer it follows the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.structures import Shape, TrainingContext
from plastic_search.structures._adaptive import annealed, annealing_factor
from plastic_search.structures._top import best, share
from plastic_search.structures.gated import Gated, worth


class PooledParams(NamedTuple):
    exists: Tensor  # as of `GatedParams`, and so on
    hearing: Tensor
    heard: Tensor
    plastic: Tensor
    annealing_factor: Tensor
    frozen: Tensor
    counts: Tensor  # [2], how many of the layer's connections exist, and how many of them carry a trace


@dataclass(frozen=True)
class Pooled(Gated):
    """exists = top over all layers in the pool (s, density), s_ij = c_ij + a_i + b_j; plastic likewise

    Layers are in one pool whose structures are alike in all but `support`. `density` is a share of all connections,
    or how many, at least one in each layer; `plastic` of those that exist on their plastic pathways. Until a network
    has been trained, each layer has its own share.
    """

    buffers: ClassVar[tuple[str, ...]] = ("annealing_factor", "frozen", "counts")

    @property
    def pool(self) -> tuple[Any, ...]:
        return type(self), self.density, self.plastic, self.width, self.annealing_fraction

    def params(self, shape: Shape, rng: Generator) -> PooledParams:
        own = Gated.params(self, shape, rng)
        allowed = self.support.gates((), shape, own.exists).exists
        exists = best(worth(own), allowed, self.density, 1)
        heard = exists[:, shape.plastic].sum()
        counts = torch.stack([exists.sum(), (share(self.plastic, float(heard)) * heard).round()])
        return PooledParams(own.exists, own.hearing, own.heard, own.plastic, own.annealing_factor, own.frozen, counts)

    def kept(self, params: PooledParams, room: float) -> float:
        return min(float(params.counts[0].detach()) / max(room, 1.0), 1.0)

    def kept_plastic(self, params: PooledParams, room: float) -> float:
        return min(float(params.counts[1].detach()) / max(room, 1.0), 1.0)  # above 1 it would be a number

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        """Nothing: what changes does so for all layers in the pool."""

    def adapt_pool(self, layers: Sequence[tuple[Any, TrainingContext]]) -> None:
        contexts = [context for _, context in layers]
        if all(context.params.frozen for context in contexts):
            return
        beyond, ended = annealing_factor(contexts[0], self.annealing_fraction), contexts[0].step >= contexts[0].steps
        if ended and all(
            context.params.annealing_factor == 0.0 for context in contexts
        ):  # or the last score would be of another network
            for context in contexts:
                context.params.frozen.fill_(1.0)
            return
        allowed = [own.support.gates((), context.shape, context.weight).exists for own, context in layers]
        exists = _chosen([worth(context.params) for context in contexts], allowed, self.density, beyond, True)
        heard = [each[:, context.shape.plastic] for each, context in zip(exists, contexts, strict=True)]
        learning = heard
        if self.plastic != 1.0:
            learning = _chosen([context.params.plastic for context in contexts], heard, self.plastic, beyond, False)
        for context, *masks in zip(contexts, exists, learning, strict=True):
            context.params.annealing_factor.fill_(beyond)
            if ended:
                context.params.frozen.fill_(1.0)
            context.params.counts.copy_(torch.stack([mask.sum() for mask in masks]))


def _chosen(
    scores: list[Tensor], allowed: Sequence[Tensor | None], budget: float, beyond: float, least: bool
) -> list[Tensor]:
    """1 at the best of all layers' scores, and, where each layer keeps at least one, at the best of each."""
    joined, room = torch.cat([each.flatten() for each in scores]), None
    if any(each is not None for each in allowed):
        full = [torch.ones_like(s) if a is None else a for s, a in zip(scores, allowed, strict=True)]
        room = torch.cat([each.flatten() for each in full])
    kept = annealed(share(budget, joined.numel() if room is None else float(room.sum())), beyond)
    made, sizes = best(joined, room, kept, least * len(scores)), [each.numel() for each in scores]
    if least and len(scores) > 1 and not all(part.any() for part in made.split(sizes)):
        among = torch.ones_like(joined) if room is None else room
        for part, there in zip(joined.split(sizes), among.split(sizes), strict=True):
            part[part.masked_fill(there < 0.5, -torch.inf).argmax()] = torch.inf
        made = best(joined, room, kept, least * len(scores))
    return [part.view_as(each) for part, each in zip(made.split(sizes), scores, strict=True)]
