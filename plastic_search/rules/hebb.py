"""Fire together, wire together (Hebb 1949); with decay 1, the convex trace of Miconi et al. (2018)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.core.space import real
from plastic_search.rules import Activity, Change, Circumstances, Outer, Rule


@dataclass(frozen=True)
class Hebb(Rule):
    """dH = post (x) pre - decay * H

    With a decay it wants a rate that is not negative: under a negative one the trace grows by its decay, without end or
    up to its bound. Without a decay it is valid under both signs, and wants a bound.

    Args:
        decay: share of the trace that a change removes, before the change is multiplied by the plasticity rate.
    """

    decay: float = 0.0

    @classmethod
    def space(cls) -> Hebb:
        return cls(decay=real(0.0, 1.0))

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        if not self.decay or not where.signed_rate or where.bounded:
            return ()
        return ("its decay becomes growth where the rate is negative; bound the trace, set decay=0, or take Constant",)

    def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        return Change((Outer(seen.post, seen.pre),), self.decay), state
