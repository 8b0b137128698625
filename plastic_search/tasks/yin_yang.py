"""Yin-Yang: which region of the symbol is a point in? (Kriener, Goeltz and Petrovici 2022, arXiv 2102.08211).

Points are generated here by their procedure and from their seeds, so they are those of the published data set: 5,000
for training, 1,000 for validation, 1,000 for the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from plastic_search.core.part import positive
from plastic_search.encoders import Encoder
from plastic_search.encoders.latency import Latency
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._readout import Classification, drawn_once

_RADIUS, _DOT = 0.5, 0.1  # of the symbol, whose middle is (0.5, 0.5), and of its two dots
_POINTS = {Split.TRAIN: (5000, 42), Split.VALIDATION: (1000, 41), Split.TEST: (1000, 40)}  # how many, and their seed


class _Points(NamedTuple):
    coordinates: Tensor  # [points, 4], float32: x, y, 1 - x, 1 - y
    regions: Tensor  # [points]: 0 yin, 1 yang, 2 a dot


@dataclass(frozen=True)
class YinYang(Classification):
    """x, y, 1 - x, 1 - y and a 1, each encoded over `steps` steps: yin, yang or a dot?

    The answer is the mean output over the episode.

    Args:
        steps: steps in an episode.
        encoder: how the five numbers become inputs; by default the larger, the earlier its one spike.
    """

    steps: int = 20
    encoder: Encoder = Latency()

    def check(self) -> None:
        positive(self, "steps")

    @property
    def inputs(self) -> int:
        return self.encoder.channels(5)

    @property
    def outputs(self) -> int:
        return 3

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        points = _points(split)
        chosen = drawn_once(len(points.regions), size, rng)
        numbers = torch.cat([points.coordinates[chosen], points.coordinates.new_ones(size, 1)], 1).to(
            torch.get_default_dtype()
        )
        currents = numbers.expand(self.steps, -1, -1)
        return Episodes(self.encoder.encode(currents, rng), points.regions[chosen], 0)


@cache
def _points(split: Split) -> _Points:
    """The points of one split. The region of each is drawn first, and points of the square until one lies in it."""
    count, seed = _POINTS[split]
    rng, points, regions = np.random.RandomState(seed), [], []
    for _ in range(count):
        wanted = rng.randint(3)
        x, y = rng.rand(2) * 2 * _RADIUS
        while _region(x, y) != wanted:
            x, y = rng.rand(2) * 2 * _RADIUS
        points.append((x, y, 1 - x, 1 - y))
        regions.append(wanted)
    return _Points(torch.tensor(points, dtype=torch.float32), torch.tensor(regions))


def _region(x: float, y: float) -> int:
    """0 yin, 1 yang, 2 a dot, -1 outside of the symbol."""
    if (x - _RADIUS) ** 2 + (y - _RADIUS) ** 2 > _RADIUS**2:
        return -1
    left = ((x - 0.5 * _RADIUS) ** 2 + (y - _RADIUS) ** 2) ** 0.5
    right = ((x - 1.5 * _RADIUS) ** 2 + (y - _RADIUS) ** 2) ** 0.5
    if min(left, right) < _DOT:
        return 2
    return int(left <= 0.5 * _RADIUS or (y > _RADIUS and right > 0.5 * _RADIUS))
