"""OpenAI's evolution strategy (Salimans et al. 2017, arXiv 1703.03864), with low-rank perturbations as an option.

Perturbations come in pairs of opposite sign, fitness is replaced by ranks, and the estimated gradient of the expected
fitness goes to Adam. Decay of the parameters as in Schmidgall 2020. Low-rank perturbations: EGGROLL (Sarkar et al.
2025, arXiv 2511.16652), in which that of a matrix is A B^T / sqrt(r), with A [rows, r] and B [columns, r] from N(0, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.training.strategies import Entries, Strategy, ranks

__all__ = ["OpenES", "OpenESState", "Shaping"]


class Shaping(Enum):
    """What takes the place of fitness in the estimate of the gradient."""

    RANKS = "ranks"  # the rank among the candidates, from -0.5 to 0.5
    FITNESS = "fitness"  # the fitness itself, standardised


class OpenESState(NamedTuple):
    mean: Tensor  # [numbers]
    first: Tensor  # [numbers], Adam's running mean of the gradient
    second: Tensor  # [numbers], that of its square
    generation: Tensor  # [], how many updates were made


@dataclass(frozen=True)
class OpenES(Strategy):
    """g = sum_k u_k eps_k / (n sigma), theta' = theta + Adam(g), where candidate k is theta + sigma eps_k

    u is the shaped fitness less decay * mean(candidate^2), standardised over the candidates. The second half of the
    candidates has the eps of the first with opposite signs.

    Args:
        sigma: standard deviation of the perturbations.
        learning_rate: Adam's step size.
        decay: factor of a candidate's mean square, which is subtracted from its shaped fitness.
        shaping: whether fitness is replaced by its rank.
        low_rank: rank of a matrix's perturbation; 0 draws every number for itself.
        momentum: share of the last mean gradient that Adam keeps (0.99 in the program of Schmidgall).
        memory: share of the last mean squared gradient that Adam keeps.
    """

    sigma: float = 0.05
    learning_rate: float = 0.01
    decay: float = 0.0
    shaping: Shaping = Shaping.RANKS
    low_rank: int = 0
    momentum: float = 0.9
    memory: float = 0.999

    @classmethod
    def space(cls) -> OpenES:
        return cls(sigma=real(0.01, 0.3, log=True), learning_rate=real(1e-3, 0.1, log=True))

    def check(self) -> None:
        positive(self, "sigma", "learning_rate")
        for name in ("decay", "low_rank"):
            if getattr(self, name) < 0:
                raise PlasticSearchError(f"OpenES.{name} must be 0 or more, but is {getattr(self, name)}")
        for name in ("momentum", "memory"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise PlasticSearchError(f"OpenES.{name} is a share, from 0 to below 1, but is {getattr(self, name)}")

    def begin(self, mean: Tensor, candidates: int) -> OpenESState:
        return OpenESState(mean, torch.zeros_like(mean), torch.zeros_like(mean), torch.zeros((), dtype=torch.long))

    def draw(self, state: OpenESState, candidates: int, entries: Sequence[Entries], rng: Generator) -> Tensor:
        noise = torch.cat([self._noise(candidates // 2, each, rng) for each in entries], 1).to(state.mean)
        return torch.cat([state.mean + self.sigma * noise, state.mean - self.sigma * noise])

    def _noise(self, count: int, entries: Entries, rng: Generator) -> Tensor:
        """Perturbations of some numbers of one tensor, of standard deviation 1 [count, numbers]."""
        size, chosen = entries
        if not self.low_rank or self.low_rank >= min(size[-2:], default=0) or len(size) < 2:
            return torch.randn(count, _product(size) if chosen is None else len(chosen), generator=rng)
        rows = torch.randn(count, *size[:-1], self.low_rank, generator=rng)
        columns = torch.randn(count, *size[:-2], size[-1], self.low_rank, generator=rng)
        noise = (rows @ columns.mT).flatten(1) * self.low_rank**-0.5
        return noise if chosen is None else noise[:, chosen]

    def update(self, state: OpenESState, drawn: Tensor, fitness: Tensor) -> OpenESState:
        gradient = self.gradient(state, drawn, fitness)
        generation = state.generation + 1
        first = state.first.lerp(gradient, 1.0 - self.momentum)
        second = state.second.lerp(gradient.square(), 1.0 - self.memory)
        unbiased = first / (1.0 - self.momentum**generation)
        scale = (second / (1.0 - self.memory**generation)).sqrt() + 1e-8
        return OpenESState(state.mean + self.learning_rate * unbiased / scale, first, second, generation)

    def gradient(self, state: OpenESState, drawn: Tensor, fitness: Tensor) -> Tensor:
        """The estimated gradient of the expected fitness [numbers]."""
        shaped = self._shaped(fitness.to(drawn)) - self.decay * drawn.square().mean(1)
        utility = (shaped - shaped.mean()) / (shaped.std(correction=0) + 1e-8)
        return utility @ (drawn - state.mean) / (len(drawn) * self.sigma**2)

    def _shaped(self, fitness: Tensor) -> Tensor:
        if self.shaping is Shaping.RANKS:
            return ranks(fitness) / (len(fitness) - 1) - 0.5
        known = fitness.masked_fill(fitness.isinf(), fitness[fitness.isfinite()].min().item())
        return (known - known.mean()) / (known.std(correction=0) + 1e-8)


def _product(size: Sequence[int]) -> int:
    total = 1
    for each in size:
        total *= each
    return total
