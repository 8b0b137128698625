"""Hebbian learning with a decay that bounds the norm of the trace (Oja 1982)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.rules import Activity, Change, Outer, Rule


@dataclass(frozen=True)
class Oja(Rule):
    """dH = post (x) pre - post^2 * H"""

    def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        return Change((Outer(seen.post, seen.pre),), seen.post.square().unsqueeze(-1)), state
