"""Analogue currents: no spikes; the first layer receives the currents themselves."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.encoders import Encoder


@dataclass(frozen=True)
class Analogue(Encoder):
    """input = gain * current

    Args:
        gain: the input that stands for a current of 1.
    """

    gain: float = 1.0

    def check(self) -> None:
        positive(self, "gain")

    def encode(self, currents: Tensor, rng: Generator) -> Tensor:
        return self.gain * currents
