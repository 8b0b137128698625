"""A sliding threshold decides between strengthening and weakening (Bienenstock, Cooper and Munro 1982)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import real
from plastic_search.rules import Activity, Change, Circumstances, Outer, Rule


class BCMState(NamedTuple):
    threshold: Tensor  # [batch, post]


@dataclass(frozen=True)
class BCM(Rule):
    """dH = post (post - threshold) (x) pre, threshold' = threshold + rate (post^2 - threshold)

    It is valid for rates of firing, which are not negative. With a cell of both signs, such as a tanh, a synapse whose
    post is negative is strengthened, as one above the threshold is: with the wrong sign.

    Args:
        rate: share of the way that the threshold moves towards post^2 in a step, above 0 and at most 1.
    """

    rate: float = 0.1

    @classmethod
    def space(cls) -> BCM:
        return cls(rate=real(0.01, 1.0, log=True))

    def check(self) -> None:
        if not 0.0 < self.rate <= 1.0:
            raise PlasticSearchError(f"BCM.rate is a share of the step, above 0 and at most 1, but is {self.rate}")

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        if not where.signed:
            return ()
        return (
            "it is for activity that is not negative, and strengthens synapses whose post is; take a cell whose "
            "`signed` is False, or another rule, such as Oja",
        )

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> BCMState:
        return BCMState(like.new_zeros(batch, post))

    def step(self, params: tuple[()], state: BCMState, seen: Activity) -> tuple[Change, BCMState]:
        change = Change((Outer(seen.post * (seen.post - state.threshold), seen.pre),))
        return change, BCMState(state.threshold + self.rate * (seen.post.square() - state.threshold))
