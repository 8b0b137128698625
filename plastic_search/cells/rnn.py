"""A tanh unit (Elman 1990)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.cells import Cell, Response


@dataclass(frozen=True)
class RNN(Cell):
    """y = tanh(drive)"""

    def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
        y = drive.squeeze(1).tanh()
        return state, Response(y, y)
