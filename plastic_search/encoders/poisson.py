"""Poisson spikes in discrete time: a spike or none in each step, independently (a Bernoulli process)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.encoders import Encoder


@dataclass(frozen=True)
class Poisson(Encoder):
    """a spike in a step with probability rate * current

    Args:
        rate: the probability of a spike in a step where the current is 1, above 0 and at most 1.
    """

    rate: float = 0.5

    def check(self) -> None:
        if not 0.0 < self.rate <= 1.0:
            raise PlasticSearchError(f"Poisson.rate must be above 0 and at most 1, but is {self.rate}")

    def encode(self, currents: Tensor, rng: Generator) -> Tensor:
        return (torch.rand(currents.shape, generator=rng) < self.rate * currents).to(currents.dtype)
