"""The sliding threshold of Bienenstock, Cooper and Munro (1982) on spike traces.

As in TraceOja, that low-pass filters of both sides take the place of rates in the networks of Schmidgall et al. (2021,
Front. Neurorobot. 15:629210) is a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.rules import Activity, Change, Circumstances, Outer, Rule
from plastic_search.rules._traces import SIGNED, decays, low_passed, share_logit


class TraceBCMParams(NamedTuple):
    pre_decay: Tensor  # [1], s of d = sigmoid(s) in x
    post_decay: Tensor  # [1], s of d = sigmoid(s) in y
    rate: Tensor  # [1], the rate of the threshold is its sigmoid


class TraceBCMState(NamedTuple):
    pre: Tensor  # [batch, pre], x
    post: Tensor  # [batch, post], y
    threshold: Tensor  # [batch, post]


@dataclass(frozen=True)
class TraceBCM(Rule):
    """dH = y' (y' - threshold) (x) x', threshold' = threshold + rate (y'^2 - threshold), all learned

    x' = d x + (1 - d) pre and y' = d y + (1 - d) post, each with a d = exp(-1 / tau) of its own. The shorter the time
    constants, the nearer it is to BCM. The rate and each d are the sigmoid of what is trained, so between 0 and 1.

    Args:
        tau: time constants of both spike traces at the start of training, in time steps.
        rate: share of the way that the threshold moves towards y'^2 in a step, at the start of training.

    Raises:
        PlasticSearchError: the time constant is not above 0, or the rate not between 0 and 1.
    """

    tau: float = 5.0
    rate: float = 0.1

    @classmethod
    def space(cls) -> TraceBCM:
        return cls(tau=real(1.0, 20.0, log=True), rate=real(0.01, 0.9, log=True))

    def check(self) -> None:
        positive(self, "tau")
        if not 0.0 < self.rate < 1.0:
            raise PlasticSearchError(f"TraceBCM.rate is a share, above 0 and below 1, but is {self.rate}")

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        return (SIGNED,) if where.signed else ()

    def params(self, post: int, pre: int, rng: Generator) -> TraceBCMParams:
        return TraceBCMParams(decays(1, self.tau), decays(1, self.tau), share_logit(self.rate))

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> TraceBCMState:
        return TraceBCMState(like.new_zeros(batch, pre), like.new_zeros(batch, post), like.new_zeros(batch, post))

    def step(self, params: TraceBCMParams, state: TraceBCMState, seen: Activity) -> tuple[Change, TraceBCMState]:
        x, y = low_passed(state.pre, seen.pre, params.pre_decay), low_passed(state.post, seen.post, params.post_decay)
        threshold = state.threshold + params.rate.sigmoid() * (y.square() - state.threshold)
        return Change((Outer(y * (y - state.threshold), x),)), TraceBCMState(x, y, threshold)
