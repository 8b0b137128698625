"""One plasticity rate for the layer, learned by the trainer (the eta of Miconi et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.modulations import Modulation, Rate


class LearnedParams(NamedTuple):
    rate: Tensor  # [1]


@dataclass(frozen=True)
class Learned(Modulation):
    """H' = bound(H + eta dH), eta learned

    Args:
        rate: eta, the plasticity rate, at the start of training.
    """

    rate: float = 0.1

    def params(self, post: int, rng: Generator) -> LearnedParams:
        return LearnedParams(torch.full((1,), self.rate))

    def step(self, params: LearnedParams, output: Tensor) -> Rate:
        return Rate(params.rate.unsqueeze(0))
