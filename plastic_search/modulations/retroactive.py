"""Retroactive neuromodulation: the signal multiplies an eligibility trace (Miconi et al. 2019, eq. 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.modulations import FanOut, Modulation, Rate, Signal


class RetroactiveParams(NamedTuple):
    weight: Tensor  # [post], v
    bias: Tensor  # [1], b
    fan: Tensor  # [post] or [0], f
    base: Tensor  # [post] or [0], c
    eligibility: Tensor  # [1], eta


@dataclass(frozen=True)
class Retroactive(Modulation):
    """H' = bound(H + M E), E' = (1 - eta) E + eta dH; the write uses the old E

    Args:
        fan_out: whether each neuron has a plasticity rate of its own, rate_j = f_j M + c_j, or the layer has one, M.
        rate: b, and f and c, at the start of training.
        eligibility: eta, the share by which E moves towards dH in a step, at the start of training.
    """

    fan_out: FanOut = FanOut.NEURON
    rate: float = 0.1
    eligibility: float = 0.5

    def params(self, post: int, rng: Generator) -> RetroactiveParams:
        signal = Signal.start(post, self.fan_out, self.rate, rng)
        return RetroactiveParams(*signal, torch.full((1,), self.eligibility))

    def step(self, params: RetroactiveParams, output: Tensor) -> Rate:
        rates = Signal(*params[:4]).rates(output, self.fan_out)
        return Rate(rates, params.eligibility)
