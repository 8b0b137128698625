"""A cochlea in outline: gammatone filters, half-wave rectification, means over frames, and a logarithm.

What differs between speakers and not between words can be taken out: the speaker's mean spectrum, how far each band's
level departs from it, where exactly on the scale of frequencies a formant lies, and how fast and with how much silence
before it a word is spoken.

Filters of fourth order with the bandwidths and the spacing of human hearing (Patterson et al. 1992; Glasberg and
Moore 1990). The automatic gain control of Lyon's and Slaney's model is left out: instead, a recording is measured
against its own loudest frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy import fft

__all__ = ["Bank", "Profile", "blurred", "centres", "currents", "levels", "profile", "stretched"]

_RESPONSE = 0.064  # seconds of a filter's impulse response; that of 80 Hz has fallen to 1e-4 of its peak by then
_BLOCK = 1024  # transforms have a multiple of this as length, so that few filters are computed
_AT_ONCE = 16  # channels; their signals stay in the processor's cache
_FAINTEST = -60.0  # decibels; what is below, silence too, counts as this in a mean spectrum
_LOUD = -30.0  # decibels of a frame's loudest band, from which on the frame counts in a mean spectrum
_LEAST = 1.0  # decibels of a band's standard deviation; of a band that hardly changes nothing is enlarged beyond this
_SPOKEN = 0.2  # of the largest mean current: where a word begins and ends


class Bank(NamedTuple):
    """Filters and frames.

    Args:
        rate: samples a second.
        channels: number of filters.
        low, high: centre frequencies of the first and the last filter, Hz.
        hop: seconds of a frame.
        decibels: how far below the loudest frame a current is 0.
    """

    rate: int
    channels: int
    low: float
    high: float
    hop: float
    decibels: float


def centres(bank: Bank) -> np.ndarray:
    """The centre frequencies [channels], in Hz, evenly spaced on the scale of equivalent rectangular bandwidths."""
    low, high = 21.4 * np.log10(1 + 0.00437 * np.array([bank.low, bank.high]))
    return (10 ** (np.linspace(low, high, bank.channels) / 21.4) - 1) / 0.00437


def levels(samples: np.ndarray, bank: Bank) -> np.ndarray:
    """The level [frames, channels] of each band of a sound [samples], in decibels: 0 for the loudest of all."""
    edges = np.round(np.arange(len(samples) / (bank.hop * bank.rate)) * bank.hop * bank.rate).astype(int)
    size = -(-(len(samples) + round(_RESPONSE * bank.rate)) // _BLOCK) * _BLOCK
    transform, filters = fft.rfft(samples, size), _responses(bank, size)
    starts = edges[edges < len(samples)]
    sums = []
    for k in range(0, bank.channels, _AT_ONCE):
        bands = fft.irfft(transform * filters[k : k + _AT_ONCE], size)[:, : len(samples)]
        sums.append(np.add.reduceat(np.maximum(bands, 0, out=bands), starts, axis=1))
    means = np.concatenate(sums).T / np.diff(np.append(starts, len(samples)))[:, None]
    loudest = means.max()
    return 20 * np.log10(np.maximum(means / loudest if loudest > 0 else means, 1e-12))


class Profile(NamedTuple):
    """The levels of a speaker's loud frames, in decibels.

    Args:
        mean: [channels].
        spread: their standard deviation [channels], at least 1.
    """

    mean: np.ndarray
    spread: np.ndarray


def profile(several: Iterable[np.ndarray]) -> Profile | None:
    """The profile of several sounds; None where none of their frames is loud.

    Args:
        several: `levels` of sounds, such as all recordings of a speaker.
    """
    each = [loud.clip(_FAINTEST) for sound in several if len(loud := sound[sound.max(1) >= _LOUD])]
    if not each:
        return None
    frames = np.concatenate(each)
    return Profile(frames.mean(0), np.maximum(frames.std(0), _LEAST))


def currents(
    level: np.ndarray, bank: Bank, known: Profile | None = None, equal: float = 0.0, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """Currents from 0 to 1 of `levels`: 1 for the loudest, and 1 / decibels less with every decibel below.

    Args:
        known: the speaker's profile; None leaves levels as they are.
        equal: share of its mean that is taken off each band.
        scale: by which each band's departure from its mean is multiplied.
    """
    if known is not None:
        level = (level.clip(_FAINTEST) - known.mean) * scale + (1.0 - equal) * known.mean
        level = level - level.max()
    return np.clip(1 + level / bank.decibels, 0, 1).astype(np.float32)


def blurred(current: np.ndarray, channels: float) -> np.ndarray:
    """Currents [frames, channels], each the mean of those around it, weighted by a Gaussian of so many channels."""
    index = np.arange(current.shape[1])
    weight = np.exp(-0.5 * ((index[:, None] - index) / channels) ** 2)
    return (current @ (weight / weight.sum(0))).astype(np.float32)


def stretched(current: np.ndarray, frames: int) -> np.ndarray:
    """The frames from the first to the last that are loud, by linear interpolation, as `frames` frames."""
    strength = current.mean(1)
    loud = np.flatnonzero(strength >= _SPOKEN * strength.max())
    place = np.linspace(loud[0], loud[-1], frames)
    before = np.floor(place).astype(int)
    share = (place - before)[:, None].astype(np.float32)
    return (1 - share) * current[before] + share * current[np.minimum(before + 1, loud[-1])]


@lru_cache(64)
def _responses(bank: Bank, size: int) -> np.ndarray:
    """The filters' frequency responses [channels, size // 2 + 1], of gain 1 at their centres."""
    time = np.arange(round(_RESPONSE * bank.rate)) / bank.rate
    frequency = centres(bank)[:, None]
    width = 1.019 * 24.7 * (4.37e-3 * frequency + 1)
    response = time**3 * np.exp(-2 * np.pi * width * time) * np.cos(2 * np.pi * frequency * time)
    gain = np.abs((response * np.exp(-2j * np.pi * frequency * time)).sum(1, keepdims=True))
    return fft.rfft((response / gain).astype(np.float32), size)
