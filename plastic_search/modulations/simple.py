"""Simple neuromodulation: the network computes its own plasticity rate (Miconi et al. 2019, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from plastic_search.modulations import FanOut, Modulation, Rate, Signal


@dataclass(frozen=True)
class Simple(Modulation):
    """H' = bound(H + M dH), M = tanh(v . h + b), fanned out to rate_j = f_j M + c_j

    Args:
        fan_out: whether each neuron has a plasticity rate of its own, rate_j = f_j M + c_j, or the layer has one, M.
        rate: b, and f and c, at the start of training.
    """

    fan_out: FanOut = FanOut.NEURON
    rate: float = 0.1

    def params(self, post: int, rng: Generator) -> Signal:
        return Signal.start(post, self.fan_out, self.rate, rng)

    def step(self, params: Signal, output: Tensor) -> Rate:
        return Rate(params.rates(output, self.fan_out))
