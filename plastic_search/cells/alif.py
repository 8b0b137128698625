"""An adaptive leaky integrate-and-fire unit: each spike raises its threshold for a while.

The threshold is that of Bellec et al. 2020 (Nature Communications 11:3625), A = threshold + beta a and a' = rho a + y,
with rho = 1 - 1 / tau_a in place of exp(-1 / tau_a). All else is as in `lif.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.cells import Response
from plastic_search.cells._ranges import leak, scaled, start_of_leak
from plastic_search.cells._spiking import IntegrateAndFire
from plastic_search.core.part import positive
from plastic_search.core.space import each, real
from plastic_search.surrogates import Surrogate


class ALIFParams(NamedTuple):
    """As `UnitParams`, and two of the adaptation."""

    membrane: Tensor  # [post], of the time constant of the membrane
    threshold: Tensor  # [post]
    resistance: Tensor  # [post]
    synapse: Any  # [post], of the time constant of the synaptic current; () where there is none
    adaptation: Tensor  # [post], of the time constant of the adaptation
    strength: Tensor  # [post]


class ALIFState(NamedTuple):
    """As `UnitState`, and the adaptation."""

    potential: Tensor  # [batch, post], v after the reset
    current: Any  # [batch, post], the synaptic current I, or ()
    waiting: Any  # [batch, post], time steps that are left of the refractory period, or ()
    recent: Tensor  # [batch, post], a, the spikes of before, each less by 1 / tau_a a step


@dataclass(frozen=True)
class ALIF(IntegrateAndFire):
    """v' = v + (R I - v) / tau; y = 1 where v' > threshold + beta a, else 0; a' = (1 - 1 / tau_a) a + y

    Synaptic current, refractory period and reset are those of `LIF`, by subtraction of the threshold with its
    adaptation; and so are the trained numbers. Two more are `adaptation`, mapped to tau_a as time constants are, and
    `strength`, to beta as the threshold is. Unlike the reset, the adaptation has a derivative through y.

    Args:
        membrane: the time constant tau at the start of training, in time steps, above 1.
        synapse: the time constant tau_s of the synaptic current likewise; 0 for no synaptic current.
        threshold: the potential above which a unit that did not fire lately fires, at the start of training.
        resistance: R at the start of training.
        refractory: how many time steps after a spike a unit neither integrates nor fires.
        reset: what a spike does to the potential.
        surrogate: the derivative of a spike.
        longest: no time constant gets longer, in time steps; nor shorter than 1.
        span: threshold, resistance and strength stay within this factor of where they start.
        adaptation: the time constant tau_a at the start of training, in time steps, above 1.
        strength: beta at the start of training, by which a spike raises the threshold.

    Raises:
        PlasticSearchError: a setting is out of its range.
    """

    adaptation: float = 100.0
    strength: float = 0.1

    @classmethod
    def space(cls) -> ALIF:
        return cls(
            membrane=real(2.0, 50.0, log=True), surrogate=each(Surrogate), adaptation=real(20.0, 500.0, log=True)
        )

    def check(self) -> None:
        self.check_unit()
        self.check_time("adaptation")
        positive(self, "strength")

    def params(self, post: int, rng: Generator) -> ALIFParams:
        adaptation = start_of_leak(self.adaptation, 1.0, self.longest, post)
        return ALIFParams(*self.unit_params(post), adaptation, torch.zeros(post))

    def state(self, batch: int, post: int, like: Tensor) -> ALIFState:
        return ALIFState(*self.unit_state(batch, post, like), like.new_zeros(batch, post))

    def firing_threshold(self, params: ALIFParams, state: ALIFState) -> Tensor:
        threshold = scaled(params.threshold, self.threshold, self.span)
        return threshold + scaled(params.strength, self.strength, self.span) * state.recent

    def step(self, params: ALIFParams, state: ALIFState, drive: Tensor) -> tuple[ALIFState, Response]:
        charged = self.charged(params, state, drive[:, 0])
        threshold = self.firing_threshold(params, state)
        y = self.fired(charged, threshold)
        recent = state.recent - leak(params.adaptation, 1.0, self.longest) * state.recent + y
        return ALIFState(*self.after(charged, state, y, threshold), recent), Response(y, y)
