"""A plasticity rate that is given from outside: a reward, or any other input column of the layer.

A reward that multiplies what correlated activity would write is the third factor of reward-modulated Hebbian learning
(Fremaux and Gerstner 2016, Front. Neural Circuits 9:85); behind an eligibility trace, `Retroactive(signal=External())`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.modulations import FanOut, Modulation, Observation, Rate, filled


class ExternalParams(NamedTuple):
    gain: Tensor  # [1], [post] or [post, pre]


@dataclass(frozen=True)
class External(Modulation):
    """H' = bound(H + g x_c dH), x_c an input column

    Columns are counted from 0, in the order in which the layer receives them: the outputs of the layer before it (of
    the network's input, for the first layer), then those of each skip connection. The layer's own recurrent columns are
    not among them. A layer that should not receive the column through weights takes it by `FromLayer`.

    Args:
        column: c, the column that is the rate.
        gain: g, by which it is multiplied; where it is learned, at the start of training.
        learned: how many gains are learned: one for the layer (`network`), one per neuron, or one per synapse; None
            keeps the gain as it is.

    Raises:
        PlasticSearchError: the column is negative; a network is built whose layer does not receive it.
    """

    column: int = 0
    gain: float = 0.1
    learned: FanOut | None = None

    def check(self) -> None:
        if self.column < 0:
            raise PlasticSearchError(f"External.column is counted from 0, but is {self.column}")

    def check_inputs(self, columns: int, source: int) -> None:
        if self.column >= columns:
            raise PlasticSearchError(
                f"External reads column {self.column}, but the layer receives the columns 0 to {columns - 1}: outputs "
                "of the layer before it, then those of its skip connections"
            )

    def params(self, post: int, pre: int, rng: Generator) -> ExternalParams | tuple[()]:
        return () if self.learned is None else ExternalParams(filled(self.learned, post, pre, self.gain))

    def step(self, params: ExternalParams | tuple[()], state: tuple[()], seen: Observation) -> tuple[Rate, tuple[()]]:
        x = seen.inputs[:, self.column].unsqueeze(-1)
        if not isinstance(params, ExternalParams):
            return Rate(self.gain * x), state
        return Rate(params.gain * (x.unsqueeze(-1) if params.gain.dim() == 2 else x)), state
