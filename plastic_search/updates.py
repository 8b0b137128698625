"""What one update of training takes, with a structure that is learned and without. Benchmarks time it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_search.adaptation import Adaptation
from plastic_search.network import Network

__all__ = ["Learned", "updating"]

_STEPS = 1_000_000  # of which a benchmark sees the first: every gate is still learned


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


def updating(net: Network, x: Tensor) -> Callable[[], float]:
    """A function that updates `net` once, on inputs [time, batch, inputs], and says how long it took."""
    adam, adaptation = torch.optim.Adam(net.parameters(), 1e-3), Adaptation(net, (0,), _STEPS)
    adaptation.after(0)
    count = 0

    def run() -> float:
        nonlocal count
        count += 1
        began = time.perf_counter()
        loss = net(x)[0].square().mean() + adaptation.constraint()
        adam.zero_grad()
        loss.backward()
        adam.step()
        adaptation.after(count)
        return time.perf_counter() - began

    return run
