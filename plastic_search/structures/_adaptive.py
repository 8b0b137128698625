"""What structures that learn have in common: where they may choose, how much they may keep, and how they narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.structures import Structure, TrainingContext
from plastic_search.structures.dense import Dense

__all__ = ["Adaptive", "Budgeted", "annealed", "annealing_factor", "derived"]


@dataclass(frozen=True)
class Adaptive(Structure):
    """A structure that chooses among the connections of another, which learns nothing."""

    support: Structure = field(default=Dense(), kw_only=True)  # where a connection may be at all

    @property
    def recurrent(self) -> bool:
        return self.support.recurrent

    def check(self) -> None:
        if type(self.support).params is not Structure.params:
            name = type(self).__name__
            raise PlasticSearchError(f"{name}.support wants a structure that learns nothing, but got {self.support}")


@dataclass(frozen=True)
class Budgeted(Adaptive):
    """One that keeps as many connections, and as many plastic ones, as it is told."""

    outward: ClassVar[bool] = False

    density: float = 0.5  # share of the connections of `support` that exist; above 1, how many
    plastic: float = 1.0  # share of the plastic pathway's existing connections that carry a trace; or how many

    def check(self) -> None:
        Adaptive.check(self)
        kind, asked = type(self).__name__, {"density": self.density, "plastic": self.plastic}
        if not self.density > 0.0 or not self.plastic >= 0.0:
            raise PlasticSearchError(
                f"{kind} wants a density above 0 and a plastic from 0, each a share up to 1 or a number, but "
                f"got density={self.density} and plastic={self.plastic}"
            )
        for name, amount in asked.items():
            if amount > 1.0 and amount != round(amount):
                raise PlasticSearchError(
                    f"{kind}.{name} is a share up to 1, or a whole number of connections, but is {amount}"
                )


def annealing_factor(context: TrainingContext, annealing_fraction: float) -> float:
    """How much of what is beyond the budget is still kept: it falls from 1 to 0 as a cube (Zhu and Gupta 2017).

    Args:
        narrowing: over which first share of training.
    """
    done = context.step / context.steps
    return (1.0 - done / annealing_fraction) ** 3 if done < annealing_fraction else 0.0


def annealed(budget: float, beyond: float) -> float:
    """The share that is kept while so much of what is beyond the budget still is."""
    return budget + beyond * (1.0 - budget)


def derived(
    made: Sequence[Tensor | None], given: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The derivatives of `given`, which can be derived again.

    Args:
        made: what was made of `given`, by operations that autograd knows.
        grads: those of `made`.
    """
    pairs = [(m, g) for m, g in zip(made, grads, strict=True) if m is not None and g is not None]
    wanted = [t for t in given if t.requires_grad]
    if not pairs or not wanted:
        return [None for _ in given]
    outputs, own = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, own, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in given]
