"""A layer that hears some of the numbers that its sources say, and holds nothing for the others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.structures import Gates, LearnedStructure, Shape, Structure
from plastic_search.structures.dense import Dense


@dataclass(frozen=True)
class Selected(Structure):
    """pre = sources[columns]; of that, the connections of `support`

    Args:
        columns: places in what all sources say, one after the other, ascending from 0; () is all of them.
        support: which connections there are from those.
    """

    columns: tuple[int, ...] = ()
    support: Structure = Dense()

    @property
    def recurrent(self) -> bool:
        return self.support.recurrent

    @property
    def selection(self) -> tuple[int, ...] | None:
        return self.columns or None

    def check(self) -> None:
        if isinstance(self.support, LearnedStructure):
            raise PlasticSearchError(f"Selected.support wants a structure that learns nothing, but got {self.support}")
        if self.support.selection is not None:
            raise PlasticSearchError(f"Selected.support selects already: {self.support}; name the columns once")
        places = self.columns
        if any(b <= a for a, b in zip((-1, *places), places, strict=False)):
            raise PlasticSearchError(f"Selected.columns wants ascending places from 0, but got {places}")

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        return self.support.gates((), shape, like)
