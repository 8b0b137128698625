"""Groups of one pair of letters, repeated: the easy text of Miconi 2016 (arXiv 1606.06216)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.tasks import Stream


@dataclass(frozen=True)
class RepeatedPairs(Stream):
    """(ab)(ababab)(abab)...: after each ab, another one with probability `more`

    The text of the paper has more=0.75, the released generator 0.6.

    Args:
        more: probability that another pair follows in the group, between 0 and 1.
        window: symbols between two updates.
    """

    more: float = 0.75

    def check(self) -> None:
        Stream.check(self)
        if not 0.0 < self.more < 1.0:
            raise PlasticSearchError(f"RepeatedPairs.more is a probability between 0 and 1, but is {self.more}")

    @property
    def entropy(self) -> float:
        """A group of m pairs has 2 + 2m symbols and m choices, of which the mean is 1 / (1 - more)."""
        p, q = self.more, 1.0 - self.more
        return -(p * math.log(p) + q * math.log(q)) / q / (2.0 + 2.0 / q)

    def text(self, length: int, rng: Generator) -> Tensor:
        slots = length // 2 + 1  # a group's brackets, or a pair, are two symbols
        more = torch.rand(slots, generator=rng) < self.more
        pair, brackets = torch.tensor([0, 1]), torch.tensor([3, 2])  # a text is ...)( pairs )(..., less its first )
        # a slot is a pair, and then brackets where no other pair follows
        follows = (~more).long()
        starts = torch.arange(slots) + follows.cumsum(0) - follows
        symbols = pair.repeat(slots + int(follows.sum()), 1)
        symbols[starts[~more] + 1] = brackets
        return torch.cat([torch.tensor([2]), symbols.flatten()])[:length]
