"""Latency code: the larger a current, the earlier its one spike (Thorpe, Delorme and Van Rullen 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.encoders import Encoder


@dataclass(frozen=True)
class Latency(Encoder):
    """in each window of n steps one spike, at step round((1 - mean current) * (n - 1)), where that mean is large enough

    Without windows a current has one spike in an episode. What a window holds is known from its first step on, so a
    network receives it up to a window too early.

    Args:
        window: steps for each of which a current sends one spike; None is the whole episode.
        threshold: the mean current up to which there is no spike, from 0 to below 1.
    """

    window: int | None = None
    threshold: float = 0.0

    def check(self) -> None:
        if self.window is not None and self.window < 1:
            raise PlasticSearchError(f"Latency.window must be at least 1, or None, but is {self.window}")
        if not 0.0 <= self.threshold < 1.0:
            raise PlasticSearchError(f"Latency.threshold must be from 0 to below 1, but is {self.threshold}")

    def encode(self, currents: Tensor, rng: Generator) -> Tensor:
        spikes = torch.zeros_like(currents)
        for received, sent in zip(
            *(each.split(self.window or len(currents)) for each in (currents, spikes)), strict=True
        ):
            mean = received.mean(0).clamp(0.0, 1.0)
            step = ((1.0 - mean) * (len(received) - 1)).round().long()
            sent.scatter_(0, step.unsqueeze(0), (mean > self.threshold).to(sent.dtype).unsqueeze(0))
        return spikes
