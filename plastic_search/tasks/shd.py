"""SHD, the Spiking Heidelberg Digits: spoken digits, English and German, as spikes of a cochlea model.

Cramer, Stradmann, Schemmel and Zenke 2020 (arXiv 1910.07407), CC BY 4.0. The files are theirs, `shd_train.h5` and
`shd_test.h5`, and are not downloaded by this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.part import positive
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._events import UNITS, Spikes, spikes_of
from plastic_search.tasks._readout import Classification, drawn_once

_CLASSES = 20


@dataclass(frozen=True)
class SHD(Classification):
    """20 spoken digits as spikes of 700 channels, counted by step and group; the answer is the mean output

    Needs h5py: `python -m pip install "plastic-search[spiking]"`. Two of the test's speakers are in no training
    recording, so two other speakers are the validation.

    Args:
        channels: groups of neighbours into which the 700 channels are counted.
        steps: steps in an episode.
        seconds: how long a recording is; spikes after that are left out.
        held_out: speakers of the training file who are the validation instead, by number.
    """

    channels: int = 140
    steps: int = 100
    seconds: float = 1.4
    held_out: tuple[int, ...] = (0, 1)

    def check(self) -> None:
        positive(self, "channels", "steps", "seconds")
        if self.channels > UNITS:
            raise PlasticSearchError(f"SHD.channels must be at most {UNITS}, but is {self.channels}")

    @property
    def inputs(self) -> int:
        return self.channels

    @property
    def outputs(self) -> int:
        return _CLASSES

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        spikes, rows = _split(self, split)
        chosen = rows[drawn_once(len(rows), size, rng)]
        inputs = spikes.counts[chosen].transpose(0, 1).to(torch.get_default_dtype())
        return Episodes(inputs, spikes.labels[chosen], 0)


@cache
def _file(name: str, steps: int, seconds: float, channels: int) -> Spikes:
    return spikes_of(f"shd/{name}", _CLASSES, steps, seconds, channels)


@cache
def _split(task: SHD, split: Split) -> tuple[Spikes, Tensor]:
    """A file's recordings, and the numbers of those that belong to a split."""
    name = "shd_test.h5" if split is Split.TEST else "shd_train.h5"
    spikes = _file(name, task.steps, task.seconds, task.channels)
    if split is Split.TEST:
        return spikes, torch.arange(len(spikes.labels))
    if spikes.speakers is None:
        raise PlasticSearchError(
            f"{name} names no speakers (extra/speaker), by which validation and training are separated"
        )
    held_out = torch.isin(spikes.speakers, torch.tensor(task.held_out, dtype=torch.long))
    rows = (held_out if split is Split.VALIDATION else ~held_out).nonzero().flatten()
    if not len(rows):
        known = ", ".join(map(str, spikes.speakers.unique().tolist()))
        raise PlasticSearchError(
            f"SHD.held_out is {task.held_out}, which leaves nothing for {split.value}; speakers of {name}: {known}"
        )
    return spikes, rows
