"""Retroactive neuromodulation: the signal multiplies an eligibility trace (Miconi et al. 2019, eq. 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import FanOut, Modulation, Observation, Rate, Signal
from plastic_search.modulations.simple import Simple


class RetroactiveParams(NamedTuple):
    weight: Tensor  # [post], v
    bias: Tensor  # [1], b
    fan: Tensor  # [post], [post, pre] or [0], f
    base: Tensor  # [post], [post, pre] or [0], c
    eligibility: Tensor  # [1], eta


class DelayedParams(NamedTuple):
    signal: Any  # those of the modulation that gives the rate
    eligibility: Tensor  # [1], eta


@dataclass(frozen=True)
class Retroactive(Modulation):
    """H' = bound(H + M E), E' = (1 - eta) E + eta dH; the write uses the old E

    Args:
        fan_out: of the layer's own signal M = tanh(v . h + b): a rate for each neuron, rate_j = f_j M + c_j, for each
            synapse, rate_ij = f_ij M + c_ij, or one for the layer, M.
        rate: b, and f and c, at the start of training.
        eligibility: eta, the share by which E moves towards dH in a step, at the start of training.
        signal: another modulation, whose rate multiplies E; it has its own fan-out and rate. None: the layer's own.

    Raises:
        PlasticSearchError: `signal` is retroactive itself, or `fan_out` or `rate` are given beside it.

    Example:
        from plastic_search.modulations.external import External

        rewarded = Retroactive(signal=External(column=3))  # what was just active is written when a reward arrives
    """

    fan_out: FanOut = FanOut.NEURON
    rate: float = 0.1
    eligibility: float = 0.5
    signal: Modulation | None = None

    def check(self) -> None:
        if isinstance(self.signal, Retroactive):
            raise PlasticSearchError("the signal of a Retroactive gives the rate alone; use its own signal instead")
        if self.signal is not None and (self.fan_out, self.rate) != (FanOut.NEURON, 0.1):
            raise PlasticSearchError(
                f"fan_out and rate of a Retroactive are those of its layer's own signal, but its signal is a "
                f"{type(self.signal).__name__}; set them there"
            )

    @property
    def source(self) -> int | None:
        return self.signal.source if self.signal else None

    @property
    def signed(self) -> bool:
        return self._source.signed

    @property
    def _source(self) -> Modulation:
        """The modulation that gives the rate."""
        return self.signal or Simple(self.fan_out, self.rate)

    def check_inputs(self, columns: int, source: int) -> None:
        self._source.check_inputs(columns, source)

    def params(self, post: int, pre: int, rng: Generator) -> RetroactiveParams | DelayedParams:
        own, eta = self._source.params(post, pre, rng), torch.full((1,), self.eligibility)
        if self.signal is not None:
            return DelayedParams(own, eta)
        weight, bias, fan, base = own
        return RetroactiveParams(weight, bias, fan, base, eta)

    def state(self, batch: int, post: int, like: Tensor) -> Any:
        return self.signal.state(batch, post, like) if self.signal else ()

    def step(self, params: Any, state: Any, seen: Observation) -> tuple[Rate, Any]:
        if not self.signal:
            return Rate(Signal(*params[:-1]).rates(seen.output, self.fan_out), params.eligibility), state
        rate, state = self.signal.step(params.signal, state, seen)
        return Rate(rate.write, params.eligibility), state
