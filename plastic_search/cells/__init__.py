"""Cells: what a unit does with its drive."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from plastic_search.core.part import Part

__all__ = ["Cell", "Response"]


class Response(NamedTuple):
    """What one step of a cell gives back."""

    output: Tensor  # [batch, post], what the other units hear
    post: Tensor  # [batch, post], what this unit's own synapses see


@dataclass(frozen=True)
class Cell(Part):
    """What a unit does with its drive."""

    drives: ClassVar[int] = 1  # how many summed inputs a unit needs
    plastic: ClassVar[int] = 0  # which of them carries the plastic weights

    def state(self, batch: int, post: int, like: Tensor) -> Any:
        """What a unit remembers within an episode, of `like`'s type and device. Nothing, by default."""
        return ()

    @abstractmethod
    def step(self, state: Any, drive: Tensor) -> tuple[Any, Response]:
        """One time step.

        Args:
            state: what `state` made, or an earlier step returned.
            drive: [batch, drives, post].
        """
