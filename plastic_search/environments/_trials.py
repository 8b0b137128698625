"""What environments of trials share: draws without repetition, and what is measured by trial."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.environments import Played

__all__ = ["distinct", "numbers", "share"]

_MANY = 2**62  # a draw below it, modulo a bound that is far smaller, is uniform


def distinct(count: int, bound: int | Tensor, shape: tuple[int, ...], rng: Generator) -> Tensor:
    """`count` different whole numbers from 0 to below `bound`, in random order, for each place of `shape`.

    Args:
        bound: one for all places, or whole numbers [*shape], each at least `count`.

    Returns:
        Whole numbers [count, *shape].
    """
    found = torch.empty(count, *shape, dtype=torch.long)
    for i in range(count):
        value = torch.randint(_MANY, shape, generator=rng) % (bound - i)  # counts the numbers that are left
        for taken in found[:i].sort(0).values:
            value += value >= taken
        found[i] = value
    return found


def numbers(played: Played) -> Tensor:
    """The number of the trial that each reward belongs to [time, batch], -1 for none."""
    if played.trials is None:
        raise PlasticSearchError("these episodes have no trials; pass those of an environment that has some")
    return played.trials


def share(right: Tensor, among: Tensor) -> Tensor:
    """The share of `right` [time, batch] where `among` is true, in each episode [batch]; NaN where it never is."""
    return (right & among).sum(0) / among.sum(0)
