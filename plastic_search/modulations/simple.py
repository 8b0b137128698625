"""Simple neuromodulation: the network computes its own plasticity rate (Miconi et al. 2019, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from plastic_search.modulations import FanOut, Modulation, Observation, Rate, Reads, Signal


@dataclass(frozen=True)
class Simple(Modulation):
    """H' = bound(H + M dH), M = tanh(v . h + b), fanned out to rate_j = f_j M + c_j

    Which fan-out the authors use, with which bound of the trace (`Layer.limit`):

    * their reinforcement learning, paper and programs `sr/` and `maze/`: one rate, `network`, with limit 1;
    * their program `simplemaze/` and the large plastic LSTM: a rate per neuron with limit 2;
    * the small plastic LSTM, as the paper describes it: a rate per connection, `synapse`, from `reads="previous"`.

    The default is the fan-out of the second. With it, set `Layer(limit=2.0)` to reproduce these: the limit of 1 that a
    layer has by default is that of the first.

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
