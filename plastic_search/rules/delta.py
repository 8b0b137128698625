"""The delta rule: write the difference between the output and what the trace recalls (Widrow and Hoff 1960)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.rules import Activity, Change, Outer, Rule


@dataclass(frozen=True)
class Delta(Rule):
    """dH = (post - H pre) (x) pre"""

    def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        return Change((Outer(seen.post - seen.recall, seen.pre),)), state
