"""What one update of training takes, with a structure that is learned and without. Benchmarks time it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plastic_search.network.module import Network
from plastic_search.tasks import Episodes, Split
from plastic_search.trainers.gradient import Gradient

__all__ = ["Learned", "updating"]

_STEPS = 100_000  # of which a benchmark sees the first: every gate is still learned


class Learned(NamedTuple):
    """An update with a learned structure beside the same without."""

    structure: str
    batch: int
    time: int
    units: int
    dense: float  # seconds
    learned: float
    ratio: float  # learned / dense, median over rounds
    spread: tuple[float, float]


class _Silence:
    """A task that costs nothing: the same inputs each time, to be answered by zeros."""

    def __init__(self, x: Tensor) -> None:
        self._episodes = Episodes(x, torch.zeros(0), 0)

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        return self._episodes

    def loss(self, outputs: Tensor, episodes: Episodes) -> Tensor:
        return outputs.square().mean()


def updating(net: Network, x: Tensor) -> Callable[[], float]:
    """A function by which the trainer updates `net` once, on `x` [time, batch, inputs], and says how long it took."""
    task: Any = _Silence(x)
    training = Gradient(steps=_STEPS, reports=_STEPS).train(net, task, 0)

    def run() -> float:
        began = time.perf_counter()
        next(training)
        return time.perf_counter() - began

    return run
