"""Axonal delays: what a unit sends arrives some time steps later.

A delay line, y'_t = y_{t - steps}: the outputs on their way are a state of the cell, so that every kernel, population,
rollout and export has them with no line of its own (docs/decisions/0013-delays.md). Spiking networks with delays are
those of Izhikevich 2006 (Polychronization, Neural Computation 18:245); his are of single connections, ours of units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Generator, Tensor

from plastic_search.cells import Cell, Membrane, Response
from plastic_search.cells.lif import LIF
from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.space import integer


class Line(NamedTuple):
    """The outputs that are on their way, the newest first."""

    newest: Tensor  # [batch, post]
    earlier: Any  # a Line of those sent before it; () where it is the next to arrive


class DelayedState(NamedTuple):
    cell: Any  # of the cell whose outputs are delayed
    line: Line


@dataclass(frozen=True)
class Delayed(Cell):
    """output_t = y_{t - steps}, post_t = y_t, with y the output of another cell; 0 in the first `steps` steps

    A delay of the axon: all that receive the layer, itself included, receive its outputs `steps` steps later than those
    of the cell alone, and a rule's pre is what arrives. A rule's post is the unit's own and comes at once: between a
    unit and its synapses lies no axon. Trained parameters are those of the cell, under the same paths.

    Args:
        cell: the cell whose outputs are delayed.
        steps: by how many time steps, from 1 to 100.

    Raises:
        PlasticSearchError: `steps` is out of its range.

    Example:
        from plastic_search.cells.alif import ALIF

        slow = Delayed(ALIF(), steps=8)
    """

    cell: Cell = LIF()
    steps: int = 1

    @classmethod
    def space(cls) -> Delayed:
        return cls(LIF.space(), integer(1, 16, log=True))

    def check(self) -> None:
        if not 1 <= self.steps <= 100:
            raise PlasticSearchError(
                f"Delayed.steps wants a number of time steps from 1 to 100, but is {self.steps}; without a delay use "
                "the cell alone"
            )

    @property
    def drives(self) -> int:  # type: ignore[override]
        return self.cell.drives

    @property
    def plastic(self) -> int:  # type: ignore[override]
        return self.cell.plastic

    @property
    def split(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.cell.split

    @property
    def signed(self) -> bool:  # type: ignore[override]
        return self.cell.signed

    @property
    def spiking(self) -> bool:  # type: ignore[override]
        return self.cell.spiking

    def params(self, post: int, rng: Generator) -> Any:
        return self.cell.params(post, rng)

    def state(self, batch: int, post: int, like: Tensor) -> DelayedState:
        line: Any = ()
        for _ in range(self.steps):
            line = Line(like.new_zeros(batch, post), line)
        return DelayedState(self.cell.state(batch, post, like), line)

    def step(self, params: Any, state: DelayedState, drive: Tensor) -> tuple[DelayedState, Response]:
        cell, (output, post) = self.cell.step(params, state.cell, drive)
        line, arrived = _passed(state.line, output)
        return DelayedState(cell, line), Response(arrived, post)

    def membranes(self, params: Any, state: DelayedState) -> Membrane | None:
        return self.cell.membranes(params, state.cell)


def _passed(line: Line, output: Tensor) -> tuple[Line, Tensor]:
    """The line once `output` has entered it, and what leaves it."""
    if not line.earlier:
        return Line(output, ()), line.newest
    earlier, arrived = _passed(line.earlier, line.newest)
    return Line(output, earlier), arrived
