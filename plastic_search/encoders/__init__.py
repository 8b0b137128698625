"""Encoders: how currents become what a network receives, such as spikes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["Encoder"]


@dataclass(frozen=True)
class Encoder(Part):
    """How currents become what a network receives."""

    def channels(self, currents: int) -> int:
        """How many inputs a network has that receives `currents` currents, encoded."""
        return currents

    @abstractmethod
    def encode(self, currents: Tensor, rng: Generator) -> Tensor:
        """The inputs [time, batch, channels] that stand for currents [time, batch, currents].

        Args:
            currents: numbers from 0 to 1, which are not changed; where all are 0, so are the inputs.
            rng: the only source of what is random.
        """
