"""Simple neuromodulation: the network computes its own plasticity rate (Miconi et al. 2019, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from plastic_search.modulations import FanOut, Modulation, Observation, Rate, Reads, Signal


@dataclass(frozen=True)
class Simple(Modulation):
    """H' = bound(H + M dH), M = tanh(v . h + b), fanned out to rate_j = f_j M + c_j

    Args:
        fan_out: whether each neuron has a plasticity rate of its own, rate_j = f_j M + c_j, or each synapse,
            rate_ij = f_ij M + c_ij, or the layer has one, M.
        rate: b, and f and c, at the start of training.
        reads: h, the activity that the signal is computed from.
    """

    fan_out: FanOut = FanOut.NEURON
    rate: float = 0.1
    reads: Reads = Reads.OUTPUT

    def params(self, post: int, pre: int, rng: Generator) -> Signal:
        return Signal.start(post, pre, self.fan_out, self.rate, rng)

    def step(self, params: Signal, state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
        return Rate(params.rates(self.reads.of(seen), self.fan_out)), state
