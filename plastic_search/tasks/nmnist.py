"""N-MNIST: handwritten digits before a moving event camera (Orchard, Jayawant, Cohen and Thakor 2015), CC BY-SA 4.0.

60,000 recordings for training, of which every sixth is validation, and 10,000 for the test, each of three movements of
100 ms before 34 x 34 pixels. The files are theirs, `Train/0/00002.bin` and so on; this package does not download them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._events import address_events, located
from plastic_search.tasks._readout import Classification, drawn_once

_FETCH = (
    "mkdir -p {{folder}} && cd {{folder}} && unzip {name}.zip` after a download of {name}.zip from "
    "`https://www.garrickorchard.com/datasets/n-mnist"
)
_SIDE, _HELD_OUT = 34, 6  # pixels along a side; one of how many training recordings is validation


@dataclass(frozen=True)
class NMNIST(Classification):
    """ten digits as events of an event camera, counted by step, pixel and polarity; the answer is the mean output

    Inputs are first the counts of events that say darker, then of those that say brighter, row by row. Files are read
    when they are drawn.

    Args:
        pool: pixels along a side of the squares in which events are counted: 1, 2, 17 or 34.
        steps: steps in an episode.
        seconds: how long a recording is; events after that are left out.
    """

    pool: int = 2
    steps: int = 30
    seconds: float = 0.3

    def check(self) -> None:
        positive(self, "pool", "steps", "seconds")
        if _SIDE % self.pool:
            raise PlasticSearchError(f"NMNIST.pool must divide {_SIDE} (1, 2, 17, 34), but is {self.pool}")

    @property
    def inputs(self) -> int:
        return 2 * (_SIDE // self.pool) ** 2

    @property
    def outputs(self) -> int:
        return 10

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        files = _files(split)
        chosen = [files[k] for k in drawn_once(len(files), size, rng).tolist()]
        counts = np.stack([self._counts(address_events(path, _SIDE)) for path in chosen], 1)
        labels = torch.tensor([int(path.parent.name) for path in chosen])
        return Episodes(torch.from_numpy(counts).to(torch.get_default_dtype()), labels, 0)

    def _counts(self, events: np.ndarray) -> np.ndarray:
        """Events [events, 4] counted [steps, inputs]."""
        side = _SIDE // self.pool
        step = np.floor(events[:, 0] * (self.steps / self.seconds / 1e6)).astype(np.int64)
        _, row, column, polarity = events[step < self.steps].T
        at = ((step[step < self.steps] * 2 + polarity) * side + row // self.pool) * side + column // self.pool
        return np.bincount(at, minlength=self.steps * self.inputs).reshape(self.steps, self.inputs)


@cache
def _files(split: Split) -> tuple[Path, ...]:
    """The files of one split, sorted by digit and name."""
    name = "Test" if split is Split.TEST else "Train"
    folder = located(f"n-mnist/{name}", _FETCH.format(name=name))
    files = sorted(folder.glob("[0-9]/*.bin"), key=lambda path: (path.parent.name, path.name))
    if split is not Split.TEST:
        files = [path for k, path in enumerate(files) if (k % _HELD_OUT == 0) == (split is Split.VALIDATION)]
    if not files:
        raise PlasticSearchError(f"{folder} has no files for {split.value} such as 0/00002.bin; unpack {name}.zip anew")
    return tuple(files)
