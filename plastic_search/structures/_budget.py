"""What learned structures share: a budget of connections, its schedule, and the structure that limits their choice."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from plastic_search.core.errors import PlasticSearchError
from plastic_search.structures import LearnedStructure, Structure, TrainingContext
from plastic_search.structures._top import Count, number
from plastic_search.structures.dense import Dense

__all__ = ["Budget", "LearnedSubset"]


class Budget(NamedTuple):
    """How many connections exist, and how many of them carry a trace, in the end and while training goes on.

    An amount is a share up to 1, or a number of connections above 1. The excess over the budget is removed on a cubic
    schedule (Zhu and Gupta 2017, arXiv 1710.01878).
    """

    density: float  # of the connections that `support` allows
    plastic: float  # of the existing connections of the plastic pathway
    support: Structure
    annealing_fraction: float = 0.0  # first share of training, over which the excess is removed

    def check(self, kind: str) -> None:
        """Refuse amounts that are none; `kind` is the structure's name in the message."""
        amounts = {"density": self.density, "plastic": self.plastic}
        if not self.density > 0.0 or not self.plastic >= 0.0:
            raise PlasticSearchError(
                f"{kind} wants a density above 0 and a plastic from 0, each a share up to 1 or a number, but "
                f"got density={self.density} and plastic={self.plastic}"
            )
        for name, amount in amounts.items():
            if amount > 1.0 and amount != round(amount):
                raise PlasticSearchError(
                    f"{kind}.{name} is a share up to 1, or a whole number of connections, but is {amount}"
                )
        if not 0.0 <= self.annealing_fraction <= 1.0:
            raise PlasticSearchError(
                f"{kind}.annealing_fraction is a share of training, 0 to 1, but is {self.annealing_fraction}"
            )

    def annealing_factor(self, context: TrainingContext) -> float:
        """The share of the excess over the budget that is still kept: (1 - t / annealing_fraction)^3, then 0."""
        done = context.step / context.steps
        return (1.0 - done / self.annealing_fraction) ** 3 if done < self.annealing_fraction else 0.0

    def existing(self, annealing_factor: float = 0.0) -> Count:
        """How many connections exist, by how many could: at least one."""
        return partial(number, self.density, annealing_factor=annealing_factor, least=1)

    def carrying(self, annealing_factor: float = 0.0) -> Count:
        """How many connections carry a trace, by how many exist on the plastic pathway."""
        return partial(number, self.plastic, annealing_factor=annealing_factor)


@dataclass(frozen=True)
class LearnedSubset(LearnedStructure):
    """A learned structure whose connections are a subset of those of `support`, which has no parameters.

    Args:
        support: where a connection may be at all, a structure that learns nothing.
    """

    support: Structure = field(default=Dense(), kw_only=True)

    @property
    def recurrent(self) -> bool:
        return self.support.recurrent

    @property
    def selection(self) -> tuple[int, ...] | None:
        return self.support.selection

    @property
    def budget(self) -> Budget | None:
        """The budget of connections that is met; None where connections are not counted."""
        return None

    def check(self) -> None:
        name = type(self).__name__
        if isinstance(self.support, LearnedStructure):
            raise PlasticSearchError(f"{name}.support wants a structure that learns nothing, but got {self.support}")
        if self.budget is not None:
            self.budget.check(name)
