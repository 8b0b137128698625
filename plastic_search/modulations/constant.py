"""A constant plasticity rate."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.core.space import real
from plastic_search.modulations import Modulation, Observation, Rate


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

    @property
    def signed(self) -> bool:
        return self.rate < 0

    def step(self, params: tuple[()], state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
        return Rate(seen.output.new_full((1, 1), self.rate)), state
