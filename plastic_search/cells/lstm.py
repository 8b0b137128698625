"""An LSTM whose plastic synapses use the candidate as postsynaptic activity (Miconi et al. 2019; Hochreiter 1997)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from plastic_search.cells import Cell, Response


class LSTMState(NamedTuple):
    memory: Tensor  # [batch, post]


@dataclass(frozen=True)
class LSTM(Cell):
    """c = f c + i g, y = o tanh(c); f, i, o = sigmoid(drives 0 to 2); g = tanh(drive 3), which alone is plastic"""

    drives: ClassVar[int] = 4
    plastic: ClassVar[int] = 3

    def state(self, batch: int, post: int, like: Tensor) -> LSTMState:
        return LSTMState(like.new_zeros(batch, post))

    def step(self, params: tuple[()], state: LSTMState, drive: Tensor) -> tuple[LSTMState, Response]:
        forget, write, read = drive[:, :3].sigmoid().unbind(1)
        candidate = drive[:, 3].tanh()
        memory = forget * state.memory + write * candidate
        return LSTMState(memory), Response(read * memory.tanh(), candidate)
