"""Spike-timing-dependent plasticity of pairs whose changes shrink towards bounds of the trace.

Multiplicative bounds: van Rossum, Bi and Turrigiano (2000, J. Neurosci. 20:8812), whose depression is proportional to
the weight. A power between additive and multiplicative: Guetig, Aharonov, Rotter and Sompolinsky (2003, J. Neurosci.
23:3697), f+(w) = (1 - w)^mu, f-(w) = w^mu, for w from 0 to 1. That H goes from -bound to bound instead, so that it
starts in the middle, and that every number is learned, is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.core.space import real
from plastic_search.rules import Activity, AmplitudeShape, Change, Circumstances, Outer, Rule
from plastic_search.rules._traces import SIGNED, amplitudes, decays


class WeightDependentSTDPParams(NamedTuple):
    potentiation: Tensor  # [1, 1], [post, 1] or [post, pre], log A+
    depression: Tensor  # the same shape, log A-
    pre_decay: Tensor  # [1] or [pre], s+: d+ = sigmoid(s+)
    post_decay: Tensor  # [1] or [post], s-: d- = sigmoid(s-)
    potentiation_exponent: Tensor  # [1], log mu+
    depression_exponent: Tensor  # [1], log mu-


class WeightDependentSTDPState(NamedTuple):
    pre: Tensor  # [batch, pre], x
    post: Tensor  # [batch, post], y


@dataclass(frozen=True)
class WeightDependentSTDP(Rule):
    """dH = A+ (1 - H/b)^mu+ post (x) x' - A- (1 + H/b)^mu- d- y (x) pre, x' = d+ x + pre, y' = d- y + post, all learned

    The pairs of PairSTDP, each change multiplied by a power of the trace's distance to the bound ahead over b; beyond
    the bound by 0. mu = 1 is multiplicative; the nearer mu is to 0, the nearer the rule is to PairSTDP. With mu below 1
    derivatives grow near the bound, as those of a root do. A+, A-, both tau and both mu stay above 0, as in PairSTDP.

    A step that is longer than the distance to the bound goes beyond it: the layer's own bound, `Layer.limit`, is best
    left on, with the same number.

    Args:
        potentiation: A+ at the start of training.
        depression: A- at the start of training.
        tau_plus: time constant of the presynaptic spike trace x at the start of training, in time steps.
        tau_minus: time constant of the postsynaptic spike trace y at the start of training, in time steps.
        exponent: mu+ and mu- at the start of training.
        trace_bound: b.
        per: how many A+ and A- are learned; with `network` the layer has one of each tau, else each presynaptic neuron
            has a tau+ and each postsynaptic one a tau-.

    Raises:
        PlasticSearchError: a number is not above 0.
    """

    potentiation: float = 1.0
    depression: float = 1.05
    tau_plus: float = 5.0
    tau_minus: float = 5.0
    exponent: float = 1.0
    trace_bound: float = 1.0
    per: AmplitudeShape = AmplitudeShape.NETWORK

    @classmethod
    def space(cls) -> WeightDependentSTDP:
        times = {name: real(1.5, 20.0, log=True) for name in ("tau_plus", "tau_minus")}
        return cls(depression=real(0.3, 3.0, log=True), exponent=real(0.05, 1.0, log=True), **times)

    def check(self) -> None:
        positive(self, "potentiation", "depression", "tau_plus", "tau_minus", "exponent", "trace_bound")

    def doubts(self, where: Circumstances) -> tuple[str, ...]:
        found = [SIGNED] if where.signed else []
        if where.signed_rate and not where.bounded:
            found.append(
                "where the rate is negative its changes grow away from the bound; bound the trace, or take a rate "
                "such as Constant"
            )
        return tuple(found)

    def params(self, post: int, pre: int, rng: Generator) -> WeightDependentSTDPParams:
        shared, exponent = self.per is AmplitudeShape.NETWORK, torch.full((1,), math.log(self.exponent))
        return WeightDependentSTDPParams(
            amplitudes(self.per, post, pre, self.potentiation),
            amplitudes(self.per, post, pre, self.depression),
            decays(1 if shared else pre, self.tau_plus),
            decays(1 if shared else post, self.tau_minus),
            exponent,
            exponent.clone(),
        )

    def state(self, batch: int, post: int, pre: int, like: Tensor) -> WeightDependentSTDPState:
        return WeightDependentSTDPState(like.new_zeros(batch, pre), like.new_zeros(batch, post))

    def step(
        self, params: WeightDependentSTDPParams, state: WeightDependentSTDPState, seen: Activity
    ) -> tuple[Change, WeightDependentSTDPState]:
        x = params.pre_decay.sigmoid() * state.pre + seen.pre
        y = params.post_decay.sigmoid() * state.post
        share = seen.trace / self.trace_bound
        up = _power(1.0 - share, params.potentiation_exponent.exp())
        down = _power(1.0 + share, params.depression_exponent.exp())
        potentiation = Outer(seen.post, x, params.potentiation.exp()).full()
        depression = Outer(y, seen.pre, params.depression.exp()).full()
        return Change(dense=up * potentiation - down * depression), WeightDependentSTDPState(x, y + seen.post)


def _power(distance: Tensor, exponent: Tensor) -> Tensor:
    """distance ** exponent; 0, with derivatives of 0, where the distance is not above 0."""
    ahead = distance > 0
    known = torch.where(ahead, distance, torch.ones_like(distance))
    return torch.where(ahead, (exponent * known.log()).exp(), torch.zeros_like(distance))
