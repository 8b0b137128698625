"""Fire together, wire together (Hebb 1949); with decay 1, the convex trace of Miconi et al. (2018)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.core.space import real
from plastic_search.rules import Activity, Change, Outer, Rule


@dataclass(frozen=True)
class Hebb(Rule):
    """dH = post (x) pre - decay * H

    Args:
        decay: share of the trace that a change removes, before the change is multiplied by the plasticity rate.
    """

    decay: float = 0.0

    @classmethod
    def space(cls) -> Hebb:
        return cls(decay=real(0.0, 1.0))

    def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        return Change((Outer(seen.post, seen.pre),), self.decay), state
