"""A layer that receives a selection of its sources' outputs, and has no weights for the others."""

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
        columns: indices into the concatenated outputs of all sources, ascending from 0; () selects all of them.
        support: the connections from those.
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
        if any(b <= a for a, b in zip((-1, *self.columns), self.columns, strict=False)):
            raise PlasticSearchError(f"Selected.columns wants ascending indices from 0, but got {self.columns}")

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        return self.support.gates((), shape, like)
