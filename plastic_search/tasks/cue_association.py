"""Noisy cue association: which side were most cues on? (the evidence accumulation of Bellec et al. 2020).

Their protocol, that of a rodent in a T-maze (Morcos and Harvey 2016), has steps of 1 ms: 7 cues of 100 steps every 150,
1,050 silent steps and 150 of recall; neurons of an active group spike with a probability of 0.04, those of the
background with 0.01. The defaults are a reduction of ours to 90 steps. The noise, spikes in any neuron, stands for that
of SpikePropamine (Schmidgall et al. 2021), whose own noise and sizes are not public.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._readout import Classification

_GROUPS = 4  # left, right, recall, background


@dataclass(frozen=True)
class CueAssociation(Classification):
    """`cues` cues, left or right, each a burst of its group; after a delay the recall group fires: which were more?

    Inputs are spikes, 0 or 1, of four groups of neurons: left, right, recall, and background, which is always active.
    A side is drawn for each episode, and a cue is on it with probability `majority`. The answer, left 0 or right 1, is
    the mean output over the recall.

    Args:
        cues: number of cues, odd.
        burst: steps for which the group of a cue is active.
        period: steps from the end of one cue to that of the next, silent before the burst.
        delay: silent steps after the last cue.
        recall: steps at the end, in which the recall group is active and the answer is given.
        group: neurons in each of the four groups.
        majority: probability that a cue is on the episode's side, from 0.5 to 1.
        active: probability of a spike of each neuron of an active group, in each step.
        background: probability of a spike of each neuron of the background group, in each step.
        noise: probability of a further spike of any neuron, in each step.
        deleted: probability that a spike, noise apart, is left out.
        test_noise: what `noise` is in the episodes of the test; None is the same.
    """

    cues: int = 5
    burst: int = 6
    period: int = 10
    delay: int = 30
    recall: int = 10
    group: int = 10
    majority: float = 0.7
    active: float = 0.4
    background: float = 0.1
    noise: float = 0.05
    deleted: float = 0.0
    test_noise: float | None = None

    def check(self) -> None:
        positive(self, "cues", "burst", "recall", "group")
        if self.cues % 2 == 0:
            raise PlasticSearchError(
                f"CueAssociation.cues must be odd, so that one side has more of them, but is {self.cues}"
            )
        if self.period < self.burst or self.delay < 0:
            raise PlasticSearchError(
                f"CueAssociation wants a period of at least its burst of {self.burst} steps and a delay of at least 0, "
                f"but got {self.period} and {self.delay}"
            )
        if not 0.5 <= self.majority <= 1.0:
            raise PlasticSearchError(f"CueAssociation.majority must be from 0.5 to 1, but is {self.majority}")
        for name in ("active", "background", "noise", "deleted", "test_noise"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise PlasticSearchError(f"CueAssociation.{name} is a probability, 0 to 1, but is {value}")

    @property
    def inputs(self) -> int:
        return _GROUPS * self.group

    @property
    def outputs(self) -> int:
        return 2

    @property
    def steps(self) -> int:
        """Steps in an episode."""
        return self.cues * self.period + self.delay + self.recall

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        side = torch.randint(2, (size, 1), generator=rng)
        minority = torch.rand(size, self.cues, generator=rng) >= self.majority
        sides = side ^ minority.long()  # [batch, cues]: 0 is left, 1 right
        expected = self._probabilities(sides).repeat_interleave(self.group, -1)  # [time, batch, inputs]
        spikes = torch.rand(expected.shape, generator=rng) < expected * (1.0 - self.deleted)
        probability = self.noise if self.test_noise is None or split is not Split.TEST else self.test_noise
        noise = torch.rand(expected.shape, generator=rng) < probability
        more = (sides.sum(1) > self.cues // 2).long()
        return Episodes((spikes | noise).to(torch.get_default_dtype()), more, self.steps - self.recall)

    def _probabilities(self, sides: Tensor) -> Tensor:
        """The probability of a spike of each group [time, batch, groups], where cues were on `sides` [batch, cues]."""
        groups = torch.zeros(self.steps, len(sides), _GROUPS)
        for k, right in enumerate(sides.T.float()):
            end = (k + 1) * self.period
            groups[end - self.burst : end, :, :2] = self.active * torch.stack([1.0 - right, right], -1)
        groups[-self.recall :, :, 2] = self.active
        groups[:, :, 3] = self.background
        return groups
