"""A constant plasticity rate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.core.space import real
from plastic_search.modulations import Modulation, Rate


@dataclass(frozen=True)
class Constant(Modulation):
    """H' = bound(H + rate dH), rate fixed

    Args:
        rate: the plasticity rate, by which a rule's change is multiplied in every step.
    """

    rate: float = 0.1

    @classmethod
    def space(cls) -> Constant:
        return cls(rate=real(1e-2, 1.0, log=True))

    def step(self, params: tuple[()], output: Tensor) -> Rate:
        return Rate(output.new_full((1, 1), self.rate))
