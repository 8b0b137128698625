"""Spike-timing-dependent plasticity of pairs, additive: the order of two spikes decides (Song, Miller and Abbott 2000).

The online form, in which each spike meets the spike trace of the other side, is that of Morrison, Diesmann and Gerstner
(2008, Biol. Cybern. 98:459), with all pairs counted. That amplitudes and time constants are learned by gradient through
the rule is the idea of Schmidgall and Hays (2023, Front. Neurosci. 17:1183321); their equations could not be read, and
these are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.rules import Activity, AmplitudeShape, Change, Circumstances, Outer, Rule
from plastic_search.rules._traces import SIGNED, amplitudes, decays


class PairSTDPParams(NamedTuple):
    potentiation: Tensor  # [1, 1], [post, 1] or [post, pre], log A+
    depression: Tensor  # the same shape, log A-
    pre_decay: Tensor  # [1] or [pre], s+: d+ = sigmoid(s+)
    post_decay: Tensor  # [1] or [post], s-: d- = sigmoid(s-)


class PairSTDPState(NamedTuple):
    pre: Tensor  # [batch, pre], x
    post: Tensor  # [batch, post], y


@dataclass(frozen=True)
class PairSTDP(Rule):
    """dH = A+ post (x) x' - A- d- y (x) pre, x' = d+ x + pre, y' = d- y + post, with A and d learned

    A pair of spikes changes a synapse by A+ d+^n where the postsynaptic one comes n >= 0 steps after the presynaptic
    one, and by -A- d-^n where it comes n > 0 steps before, with d = exp(-1 / tau). Of two spikes in one step the
    presynaptic one came first: it adds to the drive of that step.

    A+, A- and both tau stay above 0 whatever an optimizer does: what is trained is log A, and s of d = sigmoid(s).

    Args:
        potentiation: A+ at the start of training.
        depression: A- at the start of training.
        tau_plus: time constant of the presynaptic spike trace x at the start of training, in time steps.
        tau_minus: time constant of the postsynaptic spike trace y at the start of training, in time steps.
        per: how many A+ and A- are learned; with `network` the layer has one of each tau, else each presynaptic neuron
            has a tau+ and each postsynaptic one a tau-.

    Raises:
        PlasticSearchError: an amplitude or a time constant is not above 0.
    """

    potentiation: float = 1.0
    depression: float = 1.05
    tau_plus: float = 5.0
    tau_minus: float = 5.0
    per: AmplitudeShape = AmplitudeShape.NETWORK

    @classmethod
    def space(cls) -> PairSTDP:
        times = {name: real(1.5, 20.0, log=True) for name in ("tau_plus", "tau_minus")}
        return cls(depression=real(0.3, 3.0, log=True), **times)

    def check(self) -> None:
        positive(self, "potentiation", "depression", "tau_plus", "tau_minus")

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        found = [SIGNED] if where.signed else []
        if not where.bounded:
            found.append("its changes do not shrink as the trace grows; bound the trace, or take WeightDependentSTDP")
        return tuple(found)

    def params(self, post: int, pre: int, rng: Generator) -> PairSTDPParams:
        shared = self.per is AmplitudeShape.NETWORK
        return PairSTDPParams(
            amplitudes(self.per, post, pre, self.potentiation),
            amplitudes(self.per, post, pre, self.depression),
            decays(1 if shared else pre, self.tau_plus),
            decays(1 if shared else post, self.tau_minus),
        )

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> PairSTDPState:
        return PairSTDPState(like.new_zeros(batch, pre), like.new_zeros(batch, post))

    def step(self, params: PairSTDPParams, state: PairSTDPState, seen: Activity) -> tuple[Change, PairSTDPState]:
        x = params.pre_decay.sigmoid() * state.pre + seen.pre
        y = params.post_decay.sigmoid() * state.post
        terms = Outer(seen.post, x, params.potentiation.exp()), Outer(-y, seen.pre, params.depression.exp())
        return Change(terms), PairSTDPState(x, y + seen.post)
