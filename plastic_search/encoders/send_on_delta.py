"""Send on delta: a spike wherever a current has moved by a threshold, as sensors of changes send them.

The level-crossing sampling of event cameras and silicon cochleas (Lichtsteiner, Posch and Delbruck 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.encoders import Encoder


@dataclass(frozen=True)
class SendOnDelta(Encoder):
    """up where current - level >= threshold, down where level - current >= threshold; level += threshold * (up - down)

    The level of each current is 0 at first. There are two channels a current, first all that send up, then all that
    send down, and at most one spike in a step, so that a level may take several steps to follow a jump.

    Args:
        threshold: how far a current moves between two spikes.
    """

    threshold: float = 0.1

    def check(self) -> None:
        positive(self, "threshold")

    def channels(self, currents: int) -> int:
        return 2 * currents

    def encode(self, currents: Tensor, rng: Generator) -> Tensor:
        level, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            up = (current - level >= self.threshold).to(currents.dtype)
            down = (level - current >= self.threshold).to(currents.dtype)
            level = level + self.threshold * (up - down)
            spikes.append(torch.cat([up, down], -1))
        return torch.stack(spikes)
