"""A leaky integrate-and-fire unit, whose intrinsic numbers are trained with the weights.

Its equation is Euler's method with steps of 1 on tau dv/dt = -v + R I, as Schmidgall et al. 2021 (SpikePropamine, arXiv
2106.02681) and the format NIR have it; that SpikePropamine resets to zero is our reconstruction. Training the numbers
of each unit by the gradient of the same loss is backpropagated intrinsic plasticity (BIP; Zhang and Li 2021, arXiv
2010.12691). Which numbers they train, and how these stay in their range, their abstract does not say: ours are the time
constants, as the sigmoid of what is stored (parametric LIF; Fang et al. 2021, arXiv 2007.05785), threshold and
resistance, within a factor of their start.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from plastic_search.cells import Response
from plastic_search.cells._ranges import scaled
from plastic_search.cells._spiking import IntegrateAndFire, UnitParams, UnitState
from plastic_search.core.space import each, real
from plastic_search.surrogates import Surrogate


@dataclass(frozen=True)
class LIF(IntegrateAndFire):
    """v' = v + (R I - v) / tau; y = 1 where v' > threshold, else 0; then v' is reset where y = 1

    In the order of a step:

        I' = I + (drive - I) / tau_s               the synaptic current; without one, I' = drive
        v' = v + (R I' - v) / tau                  not in the refractory period, in which v' = v
        y  = 1 if v' > threshold else 0            0 in the refractory period
        v' = v' - y v',  or  v' - y threshold      the reset, to zero or by subtraction

    The drive is divided by tau, so that a time constant that changes does not change where v rests under a constant
    drive, R I. The other convention, v' = a v + I with a = 1 - 1 / tau, is this one where R = tau, as by default. The
    derivative of y is the surrogate's; of the reset by y there is none, while that through v' and the threshold stays.

    Trained numbers of each unit, which may have any value: `membrane` and `synapse`, s with 1 / tau = 1 / longest +
    (1 - 1 / longest) sigmoid(s); `threshold` and `resistance`, s with start exp(ln(span) tanh(s / ln(span))). Those
    named in `NetworkSpec.held` are not trained: held=("layers.*.cell",) for none, ("layers.0.cell.threshold",) for one.

    Args:
        membrane: the time constant tau at the start of training, in time steps, above 1.
        synapse: the time constant tau_s of the synaptic current likewise; 0 for no synaptic current.
        threshold: the potential above which a unit fires, at the start of training.
        resistance: R at the start of training.
        refractory: how many time steps after a spike a unit neither integrates nor fires.
        reset: what a spike does to the potential.
        surrogate: the derivative of a spike.
        longest: no time constant gets longer, in time steps; nor shorter than 1.
        span: threshold and resistance stay within this factor of where they start.

    Raises:
        PlasticSearchError: a setting is out of its range.
    """

    @classmethod
    def space(cls) -> LIF:
        return cls(membrane=real(2.0, 50.0, log=True), surrogate=each(Surrogate))

    def check(self) -> None:
        self.check_unit()

    def params(self, post: int, rng: Generator) -> UnitParams:
        return self.unit_params(post)

    def state(self, batch: int, post: int, like: Tensor) -> UnitState:
        return self.unit_state(batch, post, like)

    def firing_threshold(self, params: UnitParams, state: UnitState) -> Tensor:
        return scaled(params.threshold, self.threshold, self.span)

    def step(self, params: UnitParams, state: UnitState, drive: Tensor) -> tuple[UnitState, Response]:
        charged = self.charged(params, state, drive[:, 0])
        threshold = self.firing_threshold(params, state)
        y = self.fired(charged, threshold)
        return self.after(charged, state, y, threshold), Response(y, y)
