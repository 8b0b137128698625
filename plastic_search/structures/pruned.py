"""Which connections exist, and which of those are plastic, by magnitude: the smallest go, and do not come back.

Training begins with all connections. The number that is kept falls as a cube over its first part (gradual magnitude
pruning, Zhu and Gupta 2017). It is the control that a learned structure has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.errors import PlasticSearchError
from plastic_search.structures import Gates, Shape, Site, Structure, best, budget, share, strength
from plastic_search.structures.dense import Dense


class PrunedParams(NamedTuple):
    exists: Tensor  # [post, pre], 0 or 1
    plastic: Tensor  # [post, width of the plastic pathway], likewise
    settled: Tensor  # [1], 1 once training has ended, and the connections are fixed


@dataclass(frozen=True)
class Pruned(Structure):
    """exists = top(|w| + |alpha|, share), share = density + (1 - density) (1 - t / narrowing)^3"""

    held: ClassVar[tuple[str, ...]] = ("exists", "plastic", "settled")

    density: float = 0.5  # share of the connections of `within` that exist in the end; above 1, how many
    plastic: float = 1.0  # share of the plastic pathway's existing ones that carry a trace in the end; or how many
    narrowing: float = 0.7  # first share of training, over which connections go
    times: int = 40  # how often, were it to go on to the end of training

    within: Structure = Dense()  # where a connection may be at all

    @property
    def recurrent(self) -> bool:
        return self.within.recurrent

    def check(self) -> None:
        budget(self)
        if not 0.0 <= self.narrowing <= 1.0 or self.times < 1:
            raise PlasticSearchError(
                f"Pruned wants a narrowing from 0 to 1 and times from 1, but got {self.narrowing} and {self.times}"
            )

    def params(self, shape: Shape, rng: Generator) -> PrunedParams:
        like = torch.zeros(shape.post, shape.pre)
        exists = best(torch.rand(like.shape, generator=rng), self.within.gates((), shape, like).exists, self.density, 1)
        heard = exists[:, shape.plastic]
        return PrunedParams(exists, best(torch.rand(heard.shape, generator=rng), heard, self.plastic), torch.zeros(1))

    def gates(self, params: PrunedParams, shape: Shape, like: Tensor) -> Gates:
        return Gates(params.exists.detach(), params.plastic.detach() if params.plastic.numel() else None)

    def adapt(self, site: Site, rng: Generator) -> None:
        params, done = site.params, site.step / site.steps
        if params.settled:
            return
        params.settled.fill_(float(done >= 1.0))
        if site.step == 0:  # what a network of chance connections had before it was trained
            allowed = self.within.gates((), site.shape, site.weight).exists
            params.exists.copy_(torch.ones_like(params.exists) if allowed is None else allowed)
            params.plastic.fill_(1.0).mul_(params.exists[:, site.shape.plastic])
        elif site.step % max(site.steps // self.times, 1) == 0 or done >= 1.0:
            self._prune(site, (1.0 - done / self.narrowing) ** 3 if done < self.narrowing else 0.0)

    def _prune(self, site: Site, opened: float) -> None:
        params, allowed = site.params, self.within.gates((), site.shape, site.weight).exists
        room = params.exists.numel() if allowed is None else int(allowed.sum())
        density = share(self.density, room)
        keep = max(round((density + opened * (1.0 - density)) * room), 1)
        params.exists.copy_(best(strength(site), params.exists, 0.0, keep))
        if params.plastic.numel():
            heard = params.exists[:, site.shape.plastic]
            room = int(heard.sum())
            some = share(self.plastic, room)
            keep = round((some + opened * (1.0 - some)) * room)
            size = site.alpha.abs().expand_as(heard)
            params.plastic.copy_(best(size, params.plastic * heard, 0.0, keep))
