"""A layer whose outputs are probabilities, which its plastic synapses see as postsynaptic activity.

The readout of the Omniglot network of Miconi et al. 2018 (arXiv 1804.02464).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from plastic_search.cells import Cell, Response


@dataclass(frozen=True)
class Softmax(Cell):
    """y = softmax(drive), over the units of the layer"""

    signed: ClassVar[bool] = False

    def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
        y = drive[:, 0].softmax(-1)
        return state, Response(y, y)
