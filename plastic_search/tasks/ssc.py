"""SSC, the Spiking Speech Commands: 35 spoken words as spikes of a cochlea model.

Cramer, Stradmann, Schemmel and Zenke 2020 (arXiv 1910.07407), CC BY 4.0. The files are theirs, `ssc_train.h5`,
`ssc_valid.h5` and `ssc_test.h5`, over a gigabyte, and are not downloaded by this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._events import UNITS, Spikes, spikes_of
from plastic_search.tasks._readout import Classification, drawn_once

_FILES = {Split.TRAIN: "ssc_train.h5", Split.VALIDATION: "ssc_valid.h5", Split.TEST: "ssc_test.h5"}
_CLASSES = 35


@dataclass(frozen=True)
class SSC(Classification):
    """35 spoken words as spikes of 700 channels, counted by step and group; the answer is the mean output

    Needs h5py: `python -m pip install "plastic-search[spiking]"`. The splits are those of the three files. With the
    defaults the counts take 1 GB of memory.

    Args:
        channels: groups of neighbours into which the 700 channels are counted.
        steps: steps in an episode.
        seconds: how long a recording is; spikes after that are left out.
    """

    channels: int = 140
    steps: int = 100
    seconds: float = 1.0

    def check(self) -> None:
        positive(self, "channels", "steps", "seconds")
        if self.channels > UNITS:
            raise PlasticSearchError(f"SSC.channels must be at most {UNITS}, but is {self.channels}")

    @property
    def inputs(self) -> int:
        return self.channels

    @property
    def outputs(self) -> int:
        return _CLASSES

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        spikes = _file(_FILES[split], self.steps, self.seconds, self.channels)
        chosen = drawn_once(len(spikes.labels), size, rng)
        inputs = spikes.counts[chosen].transpose(0, 1).to(torch.get_default_dtype())
        return Episodes(inputs, spikes.labels[chosen], 0)


@cache
def _file(name: str, steps: int, seconds: float, channels: int) -> Spikes:
    return spikes_of(f"ssc/{name}", _CLASSES, steps, seconds, channels)
