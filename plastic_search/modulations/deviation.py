"""A modulator less its running mean: with a reward, the reward prediction error of a mean that is learned on the way.

Reward minus its running mean keeps plasticity from drifting with the mean reward (Fremaux, Sprekeler and Gerstner 2010,
J. Neurosci. 30:13326).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import Modulation, Observation, Rate
from plastic_search.modulations.external import External


class DeviationState(NamedTuple):
    signal: Any  # that of the modulation whose rate is centred
    mean: Tensor  # [batch, post]


@dataclass(frozen=True)
class Deviation(Modulation):
    """H' = bound(H + (M - m) dH), m' = m + share (M - m)

    Args:
        signal: the modulation that gives M, a rate for the layer or for each neuron.
        share: of the way that the mean m moves towards M in a step, above 0 and at most 1. m starts at 0.

    Raises:
        PlasticSearchError: the share is none; a network is built whose `signal` has a rate for each synapse, or an
            eligibility trace (`Retroactive(signal=Deviation(...))` has both).

    Example:
        from plastic_search.modulations.external import External

        surprise = Deviation(External(column=3, gain=0.5))  # the reward in column 3 less its running mean
    """

    signal: Modulation = External()
    share: float = 0.1

    def check(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise PlasticSearchError(
                f"Deviation.share is a share of the step, above 0 and at most 1, but is {self.share}"
            )

    @property
    def source(self) -> int | None:
        return self.signal.source

    def check_inputs(self, columns: int, source: int) -> None:
        self.signal.check_inputs(columns, source)

    def params(self, post: int, pre: int, rng: Generator) -> Any:
        return self.signal.params(post, pre, rng)

    def state(self, batch: int, post: int, like: Tensor) -> DeviationState:
        return DeviationState(self.signal.state(batch, post, like), like.new_zeros(batch, post))

    def step(self, params: Any, state: DeviationState, seen: Observation) -> tuple[Rate, DeviationState]:
        (write, eligibility), signal = self.signal.step(params, state.signal, seen)
        if write.dim() > 2 or eligibility is not None:
            raise PlasticSearchError(
                "Deviation wants a rate for the layer or for each neuron, which is written at once, but its signal "
                f"{self.signal} has another"
            )
        error = write - state.mean
        return Rate(error), DeviationState(signal, state.mean + self.share * error)
