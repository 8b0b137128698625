"""Hebbian learning with a decay that bounds the norm of the trace (Oja 1982)."""

from __future__ import annotations

from dataclasses import dataclass

from plastic_search.rules import Activity, Change, Circumstances, Outer, Rule


@dataclass(frozen=True)
class Oja(Rule):
    """dH = post (x) pre - post^2 * H

    It wants a rate that is not negative, and below 2 / post^2: under a negative one its decay becomes growth, without
    end or up to the trace's bound.
    """

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        if not where.signed_rate or where.bounded:
            return ()
        return (
            "its decay becomes growth where the rate is negative; bound the trace, or take a rate such as Constant",
        )

    def step(self, params: tuple[()], state: tuple[()], seen: Activity) -> tuple[Change, tuple[()]]:
        return Change((Outer(seen.post, seen.pre),), seen.post.square().unsqueeze(-1)), state
