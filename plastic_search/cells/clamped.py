"""A tanh unit that an input fixes at its own value (image network of Miconi, Clune and Stanley 2018, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plastic_search.cells import Cell, Response


@dataclass(frozen=True)
class Clamped(Cell):
    """y = drive 1 where that is not 0, else tanh(drive 0), which is plastic"""

    drives: ClassVar[int] = 2

    def step(self, params: tuple[()], state: tuple[()], drive: Tensor) -> tuple[tuple[()], Response]:
        free, fixed = drive[:, 0].tanh(), drive[:, 1]
        y = torch.where(fixed != 0, fixed, free)
        return state, Response(y, y)
