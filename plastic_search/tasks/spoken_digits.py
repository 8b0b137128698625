"""Spoken digits: the recordings of the Free Spoken Digit Dataset, through a cochlea in outline and an encoder.

FSDD v1.0.10 (Jackson et al., CC BY-SA 4.0): 10 digits by 6 speakers, 50 times each, at 8 kHz. Its official split: the
test is recordings 0 to 4 of each digit and speaker. It stands for TI46-Digits, which is not free; results do not
compare with those.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from plastic_search.core.errors import PlasticSearchError, unknown
from plastic_search.core.part import positive
from plastic_search.encoders import Encoder
from plastic_search.encoders.analogue import Analogue
from plastic_search.tasks import Episodes, Split
from plastic_search.tasks._cochlea import Bank, Profile, blurred, currents, levels, profile, stretched
from plastic_search.tasks._readout import Classification, drawn_once
from plastic_search.tasks._recordings import Recording, recordings
from plastic_search.tasks._wav import sound

_RATE = 8000  # samples a second
_TEST, _VALIDATION = range(5), range(5, 10)  # numbers of recordings


@dataclass(frozen=True)
class SpokenDigits(Classification):
    """ten digits as currents of `channels` gammatone filters, encoded; the answer is the mean output

    Recordings begin at the first step; after their end there is silence, and what is longer than `steps` is cut (a
    recording of FSDD lasts 0.14 to 2.28 s, 95 % of them up to 0.66). Validation is recordings 5 to 9 of each digit and
    speaker, and training does not have them.

    Args:
        held_out: the speaker of whom all recordings are the test, and none elsewhere; "" is the official split.
        encoder: how currents become inputs.
        channels: number of filters, from `low` to `high`.
        low: centre frequency of the first filter, Hz.
        high: centre frequency of the last filter, Hz, below 4000.
        hop: milliseconds of a step.
        steps: steps in an episode.
        listen: steps before the first whose output counts.
        decibels: how far below a recording's loudest band and step a current is 0.
        equal: share of a speaker's mean spectrum, in decibels over all of their recordings, that is taken off each, 0
            to 1. It needs to be known who speaks, but not what is said.
        spread: share by which the standard deviation of each channel's level, over all recordings of a speaker, is
            brought to its mean over speakers, 0 to 1.
        blur: channels of the standard deviation of a Gaussian, by which currents are smoothed over frequencies; 0 does
            not.
        span: steps to which the spoken part of a recording is stretched or shortened; 0 leaves it as it was spoken.
        recordings: a folder of wav files such as `7_jackson_32.wav` (digit, speaker, number); None is FSDD.
    """

    held_out: str = ""
    encoder: Encoder = Analogue()
    channels: int = 64
    low: float = 80.0
    high: float = 3800.0
    hop: float = 8.0
    steps: int = 100
    listen: int = 0
    decibels: float = 40.0
    equal: float = 0.0
    spread: float = 0.0
    blur: float = 0.0
    span: int = 0
    recordings: Path | None = None

    def check(self) -> None:
        positive(self, "channels", "low", "hop", "steps", "decibels")
        if not self.low < self.high < _RATE / 2:
            raise PlasticSearchError(
                f"SpokenDigits wants low < high < {_RATE // 2} Hz, but got {self.low:g} and {self.high:g}"
            )
        if not 0 <= self.listen < self.steps:
            raise PlasticSearchError(
                f"SpokenDigits.listen must be from 0 to below the {self.steps} steps, but is {self.listen}"
            )
        for name in ("equal", "spread"):
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                raise PlasticSearchError(f"SpokenDigits.{name} lies from 0 to 1, but is {value}")
        if self.blur < 0:
            raise PlasticSearchError(f"SpokenDigits.blur must be at least 0, but is {self.blur}")
        if not 0 <= self.span <= self.steps:
            raise PlasticSearchError(f"SpokenDigits.span lies from 0 to the {self.steps} steps, but is {self.span}")

    @property
    def inputs(self) -> int:
        return self.encoder.channels(self.channels)

    @property
    def outputs(self) -> int:
        return 10

    def episodes(self, size: int, split: Split, rng: Generator) -> Episodes:
        bank = Bank(_RATE, self.channels, self.low, self.high, self.hop / 1000, self.decibels)
        mine = _split(self.recordings, self.held_out, split)
        chosen = [mine[k] for k in drawn_once(len(mine), size, rng).tolist()]
        each = np.zeros((self.steps, len(chosen), self.channels), np.float32)
        for k, recording in enumerate(chosen):
            current = self._currents(recording, bank)
            each[: len(current), k] = current
        inputs = self.encoder.encode(torch.from_numpy(each).to(torch.get_default_dtype()), rng)
        return Episodes(inputs, torch.tensor([each.digit for each in chosen]), self.listen)

    def _currents(self, recording: Recording, bank: Bank) -> np.ndarray:
        """The currents [at most steps, channels] of one recording."""
        level = _levels(recording, bank, 0 if self.span else self.steps)
        known, scale = None, 1.0
        if self.equal or self.spread:
            known = _profile(self.recordings, recording.speaker, bank)
        if known is not None and self.spread:
            scale = (_mean_spread(self.recordings, bank) / known.spread) ** self.spread
        current = currents(level, bank, known, self.equal, scale)
        if self.blur:
            current = blurred(current, self.blur)
        return stretched(current, self.span) if self.span else current


@cache
def _split(folder: Path | None, held_out: str, split: Split) -> tuple[Recording, ...]:
    known = recordings(folder)
    speakers = sorted({each.speaker for each in known})
    if held_out and held_out not in speakers:
        raise unknown("speaker", held_out, speakers)
    found = tuple(each for each in known if _split_of(each, held_out) is split)
    if not found:
        raise PlasticSearchError(
            f"no recording in {folder} is for {split.value}: numbers 0 to 4 of each digit and speaker are the test "
            "where no speaker is held out, 5 to 9 are validation, others training"
        )
    return found


def _split_of(recording: Recording, held_out: str) -> Split:
    testing = recording.speaker == held_out if held_out else recording.number in _TEST
    if testing:
        return Split.TEST
    return Split.VALIDATION if recording.number in _VALIDATION else Split.TRAIN


@lru_cache(20_000)
def _levels(recording: Recording, bank: Bank, steps: int) -> np.ndarray:
    """The levels of one recording, cut after so many steps, but for 0; a batch computes those that none had before."""
    samples = sound(recording.data, recording.name, bank.rate)
    return levels(samples[: round(steps * bank.hop * bank.rate)] if steps else samples, bank).astype(np.float32)


@lru_cache(100)
def _profile(folder: Path | None, speaker: str, bank: Bank) -> Profile | None:
    """The profile of all recordings of a speaker."""
    return profile(_levels(each, bank, 0) for each in recordings(folder) if each.speaker == speaker)


@lru_cache(20)
def _mean_spread(folder: Path | None, bank: Bank) -> np.ndarray:
    """The standard deviation of each channel's level [channels], the mean over speakers."""
    speakers = sorted({each.speaker for each in recordings(folder)})
    return np.mean([known.spread for each in speakers if (known := _profile(folder, each, bank))], 0)
