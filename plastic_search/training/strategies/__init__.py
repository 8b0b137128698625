"""Strategies of evolution: where candidates are drawn, and how their fitness moves the distribution they come from.

A strategy is a value; what changes from generation to generation is a state, a NamedTuple of tensors, whose `mean` is
the best estimate of the parameters. Fitness is larger where a candidate is better; -inf ranks last.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.core.part import Part

__all__ = ["Entries", "Strategy", "ranks"]


class Entries(NamedTuple):
    """The numbers of one tensor that are part of a parameter vector."""

    size: tuple[int, ...]  # of the tensor
    chosen: Tensor | None  # indices into it, flat and in order; None for all


@dataclass(frozen=True)
class Strategy(Part):
    """How candidates are drawn, and what follows from their fitness."""

    @abstractmethod
    def begin(self, mean: Tensor, candidates: int) -> Any:
        """The state before the first generation, a NamedTuple of tensors with a field `mean`.

        Args:
            mean: the parameters to begin with [numbers].
            candidates: in each generation, an even number.

        Raises:
            PlasticSearchError: there are more numbers than the strategy can work with.
        """

    @abstractmethod
    def draw(self, state: Any, candidates: int, entries: Sequence[Entries], rng: Generator) -> Tensor:
        """A generation [candidate, numbers].

        Args:
            entries: the tensors that the numbers come from, in their order.
            rng: the only source of chance.
        """

    @abstractmethod
    def update(self, state: Any, drawn: Tensor, fitness: Tensor) -> Any:
        """The state after a generation.

        Args:
            drawn: the candidates, as `draw` returned them [candidate, numbers].
            fitness: of each [candidate]; a number, or -inf.
        """


def ranks(fitness: Tensor) -> Tensor:
    """The rank of each candidate, from 0 for the worst; of equal ones, the mean of their ranks."""
    ordered = fitness.sort().values
    below = torch.searchsorted(ordered, fitness)
    return (below + torch.searchsorted(ordered, fitness, right=True) - 1).to(fitness) / 2.0
