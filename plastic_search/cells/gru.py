"""A gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), in the form that torch.nn.GRU computes.

Its reset gate multiplies the recurrent part of the candidate; in the paper, the output before the weights do. As in the
plastic LSTM, the synapses of the candidate alone are plastic, and see it as postsynaptic activity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from plastic_search.cells import Cell, Response


class GRUState(NamedTuple):
    output: Tensor  # [batch, post], of the step before


@dataclass(frozen=True)
class GRU(Cell):
    """y' = (1 - z) n + z y; r, z = sigmoid(drives 0 and 1); n = tanh(a + r b), of drive 2, which alone is plastic

    a is the part of drive 2 from other layers, b that from the layer itself, each with a bias. Where the structure is
    not recurrent, b is its bias alone.
    """

    drives: ClassVar[int] = 3
    plastic: ClassVar[int] = 2
    split: ClassVar[tuple[int, ...]] = (2,)

    def state(self, batch: int, post: int, like: Tensor) -> GRUState:
        return GRUState(like.new_zeros(batch, post))

    def step(self, params: tuple[()], state: GRUState, drive: Tensor) -> tuple[GRUState, Response]:
        reset, keep = drive[:, :2].sigmoid().unbind(1)
        candidate = (drive[:, 2] + reset * drive[:, 3]).tanh()
        y = candidate + keep * (state.output - candidate)
        return GRUState(y), Response(y, candidate)
