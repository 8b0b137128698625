"""The delta rule: write the difference between the output and what the trace recalls (Widrow and Hoff 1960)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.rules import Activity, Change, Circumstances, Outer, Rule


@dataclass(frozen=True)
class Delta(Rule):
    """dH = (post - H pre) (x) pre

    It converges while rate * |pre|^2 is below 2, and diverges beyond (Widrow and Hoff 1960): inputs are not normalised
    here, so n inputs of size 1 want a rate below 2 / n. A bound keeps the trace finite, not right. `H pre` is what the
    trace recalls through all connections of the pathway, those among them that a structure has removed.
    """

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        found = []
        if not where.bounded:
            found.append(
                "it diverges once rate * |pre|^2 exceeds 2; bound the trace, or keep the rate below 2 / |pre|^2"
            )
        if not where.complete:
            found.append(
                "it recalls through synapses that do not exist here; take the structure Dense, or another rule"
            )
        return tuple(found)

    def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        return Change((Outer(seen.post - seen.recall, seen.pre),)), state
