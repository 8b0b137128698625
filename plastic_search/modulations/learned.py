"""Plasticity rates that the trainer learns: one for a layer (the eta of Miconi et al. 2018), or one per connection.

One per connection is what the small plastic LSTM of Miconi et al. (2019, Backpropamine) has where it is not modulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.modulations import FanOut, Modulation, Observation, Rate, filled


class LearnedParams(NamedTuple):
    rate: Tensor  # [1], [post] or [post, pre]


@dataclass(frozen=True)
class Learned(Modulation):
    """H' = bound(H + eta dH), eta learned

    Args:
        rate: eta, the plasticity rate, at the start of training.
        per: whether one rate is learned for the layer (`network`), one per neuron, or one per synapse.
    """

    rate: float = 0.1
    per: FanOut = FanOut.NETWORK

    @property
    def signed(self) -> bool:
        return self.rate < 0  # where it starts

    def params(self, post: int, pre: int, rng: Generator) -> LearnedParams:
        return LearnedParams(filled(self.per, post, pre, self.rate))

    def step(self, params: LearnedParams, state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
        return Rate(params.rate.unsqueeze(0)), state
