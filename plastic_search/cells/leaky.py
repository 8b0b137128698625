"""A leaky unit, whose time constant is learned: the rate network of neuroscience in discrete time.

tau dy/dt = -y + tanh(drive), by Euler's method with steps of 1 (Yang and Wang 2020, arXiv 2006.01001). That the leak
1 / tau is the sigmoid of what is trained is from Fang et al. 2021 (arXiv 2007.05785), who do so in spiking units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.cells import Cell, Response
from plastic_search.cells._ranges import leak, start_of_leak
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import real


class LeakyParams(NamedTuple):
    leak: Tensor  # [post], s: 1 / tau = 1 / longest + (1 / shortest - 1 / longest) sigmoid(s)


class LeakyState(NamedTuple):
    output: Tensor  # [batch, post], of the step before


@dataclass(frozen=True)
class Leaky(Cell):
    """y' = (1 - 1 / tau) y + tanh(drive) / tau, with a time constant tau for each unit, which is learned

    What is trained, s, may be any number: 1 / tau = 1 / longest + (1 / shortest - 1 / longest) sigmoid(s).

    Args:
        start: the time constant of every unit at the start of training, in time steps.
        shortest: no time constant gets shorter, in time steps; at least 1, that of a unit that forgets at once.
        longest: no time constant gets longer, in time steps.
    """

    start: float = 2.0
    shortest: float = 1.0
    longest: float = 100.0

    @classmethod
    def space(cls) -> Leaky:
        return cls(start=real(1.2, 20.0, log=True))

    def check(self) -> None:
        if not 1.0 <= self.shortest < self.start < self.longest:
            raise PlasticSearchError(
                f"Leaky wants 1 <= shortest < start < longest, in time steps, but got shortest={self.shortest}, "
                f"start={self.start}, longest={self.longest}"
            )

    def params(self, post: int, rng: Generator) -> LeakyParams:
        return LeakyParams(start_of_leak(self.start, self.shortest, self.longest, post))

    def state(self, batch: int, post: int, like: Tensor) -> LeakyState:
        return LeakyState(like.new_zeros(batch, post))

    def step(self, params: LeakyParams, state: LeakyState, drive: Tensor) -> tuple[LeakyState, Response]:
        share = leak(params.leak, self.shortest, self.longest)
        y = state.output + share * (drive[:, 0].tanh() - state.output)
        return LeakyState(y), Response(y, y)
