"""Separable natural evolution strategy (Schaul, Glasmachers and Schmidhuber 2011): a step size for every parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.training.strategies import Entries, Strategy, ranks

__all__ = ["SNES", "SNESState"]


class SNESState(NamedTuple):
    mean: Tensor  # [numbers]
    sigma: Tensor  # [numbers]


@dataclass(frozen=True)
class SNES(Strategy):
    """mean' = mean + rate sigma sum_k u_k z_k, sigma' = sigma exp(c / 2 sum_k u_k (z_k^2 - 1))

    Candidate k is mean + sigma z_k with z_k from N(0, 1). With n candidates, u_k is max(0, ln(n / 2 + 1) - ln(rank_k)),
    with rank 1 for the best, divided by its sum, less 1 / n; c = (3 + ln d) / (5 sqrt(d)) with d numbers.

    Args:
        sigma: standard deviation of every number at first.
        rate: how far the mean moves.
    """

    sigma: float = 0.05
    rate: float = 1.0

    @classmethod
    def space(cls) -> SNES:
        return cls(sigma=real(0.01, 0.3, log=True))

    def check(self) -> None:
        positive(self, "sigma", "rate")

    def begin(self, mean: Tensor, candidates: int) -> SNESState:
        return SNESState(mean, torch.full_like(mean, self.sigma))

    def draw(self, state: SNESState, candidates: int, entries: Sequence[Entries], rng: Generator) -> Tensor:
        noise = torch.randn(candidates, len(state.mean), generator=rng).to(state.mean)
        return state.mean + state.sigma * noise

    def update(self, state: SNESState, drawn: Tensor, fitness: Tensor) -> SNESState:
        n, d = drawn.shape
        raw = (math.log(n / 2 + 1) - (n - ranks(fitness.to(drawn))).log()).clamp_min(0.0)
        utility = raw / raw.sum() - 1.0 / n
        z = (drawn - state.mean) / state.sigma
        rate = (3.0 + math.log(d)) / (5.0 * math.sqrt(d))
        sigma = state.sigma * (0.5 * rate * (utility @ (z.square() - 1.0))).exp()
        return SNESState(state.mean + self.rate * state.sigma * (utility @ z), sigma)
