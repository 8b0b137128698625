"""Several modulator signals, of which every neuron's rate is a combination of its own.

As in Backpropamine (Miconi et al. 2019), where one signal is fanned out to all neurons, with k signals instead of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Modulation, Observation, Rate, Reads


class SeveralParams(NamedTuple):
    weight: Tensor  # [k, post], v
    bias: Tensor  # [k], b
    fan: Tensor  # [post, k], f
    base: Tensor  # [post], c


@dataclass(frozen=True)
class Several(Modulation):
    """H' = bound(H + rate dH), M_k = tanh(v_k . h + b_k), rate_j = sum_k f_jk M_k + c_j

    Args:
        signals: how many there are.
        rate: b, f and c at the start of training.
        reads: h, the activity that the signals are computed from.
    """

    signals: int = 3
    rate: float = 0.1
    reads: Reads = Reads.OUTPUT

    def check(self) -> None:
        if self.signals < 1:
            raise PlasticSearchError(f"Several needs at least 1 signal, but got signals={self.signals}")

    def params(self, post: int, pre: int, rng: Generator) -> SeveralParams:
        weight = post**-0.5 * (2 * torch.rand(self.signals, post, generator=rng) - 1)
        of_neurons = torch.full((post,), self.rate)
        fan = of_neurons.unsqueeze(-1).repeat(1, self.signals)
        return SeveralParams(weight, torch.full((self.signals,), self.rate), fan, of_neurons)

    def step(self, params: SeveralParams, state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
        signals = torch.tanh(self.reads.of(seen) @ params.weight.T + params.bias)
        return Rate(signals @ params.fan.T + params.base), state
