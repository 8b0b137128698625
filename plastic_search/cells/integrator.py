"""A leaky integrator, the readout of spiking networks, whose time constant is learned.

tau dy/dt = -y + drive, by Euler's method with steps of 1: the output units of Bellec et al. 2018 (arXiv 1803.09574).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells._ranges import leak, start_of_leak
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import real


class IntegratorParams(NamedTuple):
    leak: Tensor  # [post], s: 1 / tau = 1 / longest + (1 - 1 / longest) sigmoid(s)


class IntegratorState(NamedTuple):
    output: Tensor  # [batch, post], of the step before


@dataclass(frozen=True)
class Integrator(Cell):
    """y' = (1 - 1 / tau) y + drive / tau, with a time constant tau for each unit, which is learned

    What is trained, s, may be any number: 1 / tau = 1 / longest + (1 - 1 / longest) sigmoid(s).

    Args:
        start: the time constant of every unit at the start of training, in time steps, above 1.
        longest: no time constant gets longer, in time steps.
    """

    start: float = 10.0
    longest: float = 1000.0

    @classmethod
    def space(cls) -> Integrator:
        return cls(start=real(2.0, 100.0, log=True))

    def check(self) -> None:
        if not 1.0 < self.start < self.longest:
            raise PlasticSearchError(
                f"Integrator wants 1 < start < longest, in time steps, but got start={self.start}, "
                f"longest={self.longest}"
            )

    def params(self, post: int, rng: Generator) -> IntegratorParams:
        return IntegratorParams(start_of_leak(self.start, 1.0, self.longest, post))

    def state(self, batch: int, post: int, like: Tensor) -> IntegratorState:
        return IntegratorState(like.new_zeros(batch, post))

    def step(self, params: IntegratorParams, state: IntegratorState, drive: Tensor) -> tuple[IntegratorState, Response]:
        y = state.output + leak(params.leak, 1.0, self.longest) * (drive[:, 0] - state.output)
        return IntegratorState(y), Response(y, y)
