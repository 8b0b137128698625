"""Groups of letters, each the one before it backwards and with one mistake: the hard text of Miconi 2016."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.tasks import Stream


@dataclass(frozen=True)
class ReversedGroups(Stream):
    """(abbaba)(abaaba)...: each group is the one before it, backwards, with one letter drawn at random exchanged

    Groups have 6 letters in the released data and generator; a manuscript of the paper (arXiv 1606.06216) says 5.

    Args:
        letters: number of letters in a group.
        window: symbols between two updates.
    """

    letters: int = 6

    def check(self) -> None:
        Stream.check(self)
        positive(self, "letters")

    @property
    def entropy(self) -> float:
        """Of the choice of the exchanged letter, one for each group and its two brackets."""
        return math.log(self.letters) / (self.letters + 2)

    def text(self, length: int, rng: Generator) -> Tensor:
        size = self.letters
        groups = length // (size + 2) + 1
        first = torch.randint(2, (1, size), generator=rng)
        where = torch.randint(size, (groups - 1,), generator=rng)
        changed = torch.cat([first, torch.nn.functional.one_hot(where, size)]).cumsum(0) % 2  # before reversals
        letters = torch.where((torch.arange(groups) % 2 == 1).unsqueeze(1), changed.flip(1), changed)
        opening, closing = (torch.full((groups, 1), code) for code in (2, 3))
        return torch.cat([opening, letters, closing], 1).flatten()[:length]
