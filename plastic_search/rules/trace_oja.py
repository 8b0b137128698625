"""Oja's rule on spike traces, as in the differentiable plasticity of spiking networks.

Schmidgall, Ashkanazy, Lawson and Hays (2021, Front. Neurorobot. 15:629210) train spiking networks through Oja's rule
(1982) and BCM. Their equations could not be read: low-pass filters of both sides in place of rates are the standard
form, and a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.rules import Activity, Change, Circumstances, Outer, Rule
from plastic_search.rules._traces import decays, low_passed


class TraceOjaParams(NamedTuple):
    pre_decay: Tensor  # [1], s of d = sigmoid(s) in x
    post_decay: Tensor  # [1], s of d = sigmoid(s) in y


class TraceOjaState(NamedTuple):
    pre: Tensor  # [batch, pre], x
    post: Tensor  # [batch, post], y


@dataclass(frozen=True)
class TraceOja(Rule):
    """dH = y' (x) x' - y'^2 * H, x' = d x + (1 - d) pre, y' = d y + (1 - d) post, with both d learned

    The shorter the time constants, the nearer it is to Oja. As there, the rate should not be negative, and be below
    2 / y'^2. Each d = exp(-1 / tau) = sigmoid(s) stays between 0 and 1, and s is trained.

    Args:
        tau: time constants of both spike traces at the start of training, in time steps.

    Raises:
        PlasticSearchError: the time constant is not above 0.
    """

    tau: float = 5.0

    @classmethod
    def space(cls) -> TraceOja:
        return cls(tau=real(1.0, 20.0, log=True))

    def check(self) -> None:
        positive(self, "tau")

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        if not where.signed_rate or where.bounded:
            return ()
        return (
            "its decay becomes growth where the rate is negative; bound the trace, or take a rate such as Constant",
        )

    def params(self, post: int, pre: int, rng: Generator) -> TraceOjaParams:
        return TraceOjaParams(decays(1, self.tau), decays(1, self.tau))

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> TraceOjaState:
        return TraceOjaState(like.new_zeros(batch, pre), like.new_zeros(batch, post))

    def step(self, params: TraceOjaParams, state: TraceOjaState, seen: Activity) -> tuple[Change, TraceOjaState]:
        x, y = low_passed(state.pre, seen.pre, params.pre_decay), low_passed(state.post, seen.post, params.post_decay)
        return Change((Outer(y, x),), y.square().unsqueeze(-1)), TraceOjaState(x, y)
