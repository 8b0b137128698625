"""Cells: how a unit's output and state follow from its drive, the weighted sum of its inputs, and its parameters."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["Cell", "Membrane", "Reset", "Response"]


class Reset(Enum):
    """What a spike does to the membrane potential of a unit that fires."""

    ZERO = "zero"  # it becomes 0
    SUBTRACT = "subtract"  # the threshold is subtracted, and what was above it stays


class Response(NamedTuple):
    """The result of one step of a cell.

    Args:
        output: what other units receive [batch, post].
        post: the postsynaptic activity in the plasticity rule [batch, post].
    """

    output: Tensor
    post: Tensor


class Membrane(NamedTuple):
    """What figures show of units that fire.

    Args:
        potential: the membrane potential [batch, post].
        threshold: the potential above which a unit fires, in the next step [batch, post].
        tau: the time constant of the membrane, in time steps [post].
    """

    potential: Tensor
    threshold: Tensor
    tau: Tensor


@dataclass(frozen=True)
class Cell(Part):
    """How a unit's output and state follow from its drive and parameters. What `Rule` says of `step` holds here, too.

    A cell whose parameters have a range (a time constant, a threshold, a gain) stores a number that may have any value,
    and maps it into the range in `step`: no update of an optimizer then makes a parameter invalid.
    """

    drives: ClassVar[int] = 1  # weighted sums of its inputs that a unit needs
    plastic: ClassVar[int] = 0  # index of the drive with the plastic weights
    split: ClassVar[tuple[int, ...]] = ()  # indices of drives that `step` receives in two parts, each with a bias
    signed: ClassVar[bool] = True  # whether `Response.post` may be negative; some rules are for activity that is not
    spiking: ClassVar[bool] = False  # whether its output is 0 or 1, with a surrogate in place of a derivative

    @property
    def recurrent(self) -> tuple[int, ...]:
        """For each drive, which of the sums that `step` receives its weights from the layer itself add to."""
        return tuple(self.drives + self.split.index(d) if d in self.split else d for d in range(self.drives))

    @property
    def sums(self) -> int:
        """How many sums `step` receives: the drives, and a second part of each that is split."""
        return self.drives + len(self.split)

    def params(self, post: int, rng: Generator) -> Any:
        """Trainable parameters: a NamedTuple of tensors, drawn from `rng`; () by default, for none."""
        return ()

    def state(self, batch: int, post: int, like: Tensor) -> Any:
        """The state at the start of an episode, of `like`'s type and device; () by default, for none."""
        return ()

    @abstractmethod
    def step(self, params: Any, state: Any, drive: Tensor) -> tuple[Any, Response]:
        """One time step.

        Args:
            params: nested as `params` draws them.
            state: the result of `state`, or of the previous step.
            drive: [batch, sums, post], the drives; of those in `split`, the part from other layers, and after all
                drives, in the order of `split`, the part from the layer itself.
        """

    def membranes(self, params: Any, state: Any) -> Membrane | None:
        """The membranes of units that fire, after a step; None, by default, for units that have none."""
        return None
