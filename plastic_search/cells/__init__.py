"""Cells: how a unit's output and state follow from its drive, the weighted sum of its inputs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from plastic_search.core.part import Part

__all__ = ["Cell", "Response"]


class Response(NamedTuple):
    """The result of one step of a cell.

    Args:
        output: what other units receive [batch, post].
        post: the postsynaptic activity in the plasticity rule [batch, post].
    """

    output: Tensor
    post: Tensor


@dataclass(frozen=True)
class Cell(Part):
    """How a unit's output and state follow from its drive. What `Rule` says of its `step` holds for this one, too."""

    drives: ClassVar[int] = 1  # weighted sums of its inputs that a unit needs
    plastic: ClassVar[int] = 0  # index of the drive with the plastic weights
    signed: ClassVar[bool] = True  # whether `Response.post` may be negative; some rules are for activity that is not

    def state(self, batch: int, post: int, like: Tensor) -> Any:
        """The state at the start of an episode, of `like`'s type and device; () by default, for none."""
        return ()

    @abstractmethod
    def step(self, state: Any, drive: Tensor) -> tuple[Any, Response]:
        """One time step.

        Args:
            state: the result of `state`, or of the previous step.
            drive: [batch, drives, post].
        """
