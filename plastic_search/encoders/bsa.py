"""BSA, Ben's spiker algorithm: spikes that give the current back when a kernel filters them.

Schrauwen and Van Campenhout 2003, "BSA, a fast and accurate spike train encoding scheme".

The kernel is that of the speech code of Zhang and Li (ST-RSBP): a bell of 24 steps, exp(-(i - 12)^2 / 25), whose sum is
1. With other numbers of steps it is that bell, stretched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.encoders import Encoder

_SHARPNESS = 24**2 / 25  # of the bell, in units of its number of steps


@dataclass(frozen=True)
class BSA(Encoder):
    """a spike at t, and rest[t:t+n] -= kernel, where sum |rest[t:t+n] - kernel| < sum |rest[t:t+n]| - threshold

    The rest is the current at first. A current of 1 sends a spike in about every step. A spike stands for what follows
    in the n steps of the kernel, so a network receives it about n / 2 steps too early.

    Args:
        taps: number of steps n of the kernel.
        threshold: by how much a spike must reduce the error, above 0 and below 1.
    """

    taps: int = 5
    threshold: float = 0.6

    def check(self) -> None:
        positive(self, "taps")
        if not 0.0 < self.threshold < 1.0:
            raise PlasticSearchError(f"BSA.threshold must be above 0 and below 1, but is {self.threshold}")

    @property
    def kernel(self) -> Tensor:
        """The kernel [taps], whose sum is 1."""
        at = torch.arange(self.taps) / self.taps - 0.5
        bell = torch.exp(-_SHARPNESS * at.square())
        return bell / bell.sum()

    def encode(self, currents: Tensor, rng: Generator) -> Tensor:
        kernel = self.kernel.to(currents.dtype).view(-1, 1, 1)
        rest, spikes = functional.pad(currents, (0, 0, 0, 0, 0, self.taps - 1)), []
        for t in range(len(currents)):
            ahead = rest[t : t + self.taps]
            better = (ahead - kernel).abs().sum(0) < ahead.abs().sum(0) - self.threshold
            spikes.append(better.to(currents.dtype))
            ahead -= kernel * spikes[-1]
        return torch.stack(spikes)
