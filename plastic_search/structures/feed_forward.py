"""Every unit receives all sources of the layer, and no unit of the layer itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.structures import Gates, Shape, Structure


@dataclass(frozen=True)
class FeedForward(Structure):
    """exists = 1 on the sources; no recurrent block"""

    @property
    def recurrent(self) -> bool:
        return False

    def gates(self, params: tuple[()], shape: Shape, like: Tensor) -> Gates:
        return Gates(None, None)
