"""Every unit receives all sources and all units of its own layer, itself included."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.structures import Gates, Shape, Structure


@dataclass(frozen=True)
class Dense(Structure):
    """exists = 1, plastic = 1"""

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        return Gates(None, None)
