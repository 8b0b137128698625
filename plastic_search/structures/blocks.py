"""Which projections exist at all: each source of a layer, its units to one another, and each unit to itself.

A projection is all connections from one group of units to another. Each has one score, and the projections of highest
score exist; the gradient is straight-through, and training begins with all projections, as in `Gated`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.structures import Gates, Shape, TrainingContext
from plastic_search.structures._budget import LearnedSubset
from plastic_search.structures._top import highest


class BlocksParams(NamedTuple):
    scores: Tensor  # [projections]
    annealing_factor: Tensor  # [1], 0 where just the budget is kept, 1 where everything is
    frozen: Tensor  # [1], 1 once training has ended, and the projections are fixed


@dataclass(frozen=True)
class Blocks(LearnedSubset):
    """exists = 1 on the best `keep` of: each source (skips too), the layer's other units, a unit itself

    Args:
        keep: how many projections exist once annealing has ended.
        annealing_fraction: first share of training, over which the number of projections falls from all to `keep`.
        support: where a connection may be at all, a structure that learns nothing.
    """

    buffers: ClassVar[tuple[str, ...]] = ("annealing_factor", "frozen")
    uses_outgoing: ClassVar[bool] = False

    keep: int = 2
    annealing_fraction: float = 0.5

    def check(self) -> None:
        LearnedSubset.check(self)
        if self.keep < 1 or not 0.0 <= self.annealing_fraction <= 1.0:
            raise PlasticSearchError(
                f"Blocks wants keep from 1 and an annealing_fraction from 0 to 1, but got {self.keep} and "
                f"{self.annealing_fraction}"
            )

    def params(self, shape: Shape, rng: Generator) -> BlocksParams:
        count = sum(bool(source.units) for source in shape.sources) + (shape.recurrent > 0)
        return BlocksParams(0.1 * torch.randn(count, generator=rng), torch.zeros(1), torch.zeros(1))

    def gates(self, params: BlocksParams, shape: Shape, like: Tensor) -> Gates:
        scores = params.scores.detach() if params.frozen else params.scores
        excess = max(len(scores) - self.keep, 0)
        count = self.keep + round(float(params.annealing_factor.detach()) * excess)
        hard, soft = highest(scores, None, count), torch.sigmoid(scores - scores.detach().mean())
        gates = hard + (soft - soft.detach())
        exists = (gates.view(-1, 1, 1) * _projections(shape, like)).sum(0)
        allowed = self.support.gates((), shape, like).exists
        exists = exists if allowed is None else exists * allowed
        return Gates(exists, exists[:, shape.plastic] if shape.width else None)

    def adapt(self, context: TrainingContext, rng: Generator) -> None:
        params, done = context.params, context.step / context.steps
        if not params.frozen:
            left = 1.0 - done / self.annealing_fraction if done < self.annealing_fraction else 0.0
            params.annealing_factor.fill_(left)
            params.frozen.fill_(float(done >= 1.0))


def _projections(shape: Shape, like: Tensor) -> Tensor:
    """The mask of each projection [projections, post, pre]."""
    masks = []
    for source in shape.sources:
        if source.units:  # a source of which nothing is selected has no projection
            masks.append(like.new_zeros(shape.post, shape.pre))
            masks[-1][:, source.columns] = 1.0
    if shape.recurrent:
        itself = like.new_zeros(shape.post, shape.pre)
        itself[:, -shape.recurrent :] = torch.eye(shape.post, dtype=like.dtype, device=like.device)
        masks[-1] -= itself
        masks.append(itself)
    return torch.stack(masks)
