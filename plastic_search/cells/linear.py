"""A linear unit."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plastic_search.cells import Cell, Response


@dataclass(frozen=True)
class Linear(Cell):
    """y = drive"""

    def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
        y = drive[:, 0]
        return state, Response(y, y)
