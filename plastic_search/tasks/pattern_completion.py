"""Complete a pattern seen a moment ago (the binary task of Miconi, Clune and Stanley 2018, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.tasks import Episodes, Split, Task


@dataclass(frozen=True)
class PatternCompletion(Task):
    """`patterns` patterns of `bits` signs, each shown `present` steps; then one of them, half erased, to complete

    Args:
        bits: number of signs in a pattern, even; the network has as many inputs and outputs.
        patterns: how many are shown in an episode.
        present: steps for which a pattern is shown.
        delay: blank steps after each.
    """

    score_name: ClassVar[str] = "bits right"

    bits: int = 20
    patterns: int = 2
    present: int = 3
    delay: int = 1

    def check(self) -> None:
        positive(self, "bits", "patterns", "present")
        if self.bits % 2:
            raise PlasticSearchError(f"PatternCompletion.bits must be even, but is {self.bits}")
        if self.delay < 0:
            raise PlasticSearchError(f"PatternCompletion.delay must be 0 or more, but is {self.delay}")

    @property
    def inputs(self) -> int:
        return self.bits

    @property
    def outputs(self) -> int:
        return self.bits

    @property
    def chance(self) -> float:
        return 0.5

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        shown = torch.randint(2, (self.patterns, size, self.bits), generator=rng).float() * 2 - 1
        which = torch.randint(self.patterns, (size,), generator=rng)
        target = shown[which, torch.arange(size)]
        erased = torch.rand(size, self.bits, generator=rng).argsort(1) < self.bits // 2
        blank = torch.zeros(self.delay, size, self.bits)
        steps = [t for p in shown for t in (p.expand(self.present, -1, -1), blank)]
        cue = target.masked_fill(erased, 0.0)
        inputs = torch.cat([*steps, cue.expand(self.present, -1, -1)])
        return Episodes(inputs, target, len(inputs) - 1)

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return (outputs[-1] - episodes.targets).square().mean()

    def scores(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        """The share of erased bits that come back with the right sign."""
        erased = (episodes.inputs[-1] == 0.0).float()
        right = ((outputs[-1] > 0) == (episodes.targets > 0)).float()
        return (right * erased).sum(-1) / erased.sum(-1)
