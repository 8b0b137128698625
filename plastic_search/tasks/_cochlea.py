"""A cochlea in outline: gammatone filters, half-wave rectification, means over frames, and a logarithm.

Filters of fourth order with the bandwidths and the spacing of human hearing (Patterson et al. 1992; Glasberg and
Moore 1990). The automatic gain control of Lyon's and Slaney's model is left out: instead, a recording is measured
against its own loudest frame.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy import fft

__all__ = ["Bank", "centres", "cochleagram"]

_RESPONSE = 0.064  # seconds of a filter's impulse response; that of 80 Hz has fallen to 1e-4 of its peak by then
_BLOCK = 1024  # transforms have a multiple of this as length, so that few filters are computed
_AT_ONCE = 16  # channels; their signals stay in the processor's cache


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


def cochleagram(samples: np.ndarray, bank: Bank, frames: int) -> np.ndarray:
    """Currents [frames, channels] from 0 to 1 of a sound [samples]; frames after its end are 0, what is later is cut.

    The current of a band is 1 in the loudest frame of all, and falls by 1 / decibels with every decibel below.
    """
    edges = np.round(np.arange(frames + 1) * bank.hop * bank.rate).astype(int)
    samples = samples[: edges[-1]]
    size = -(-(len(samples) + round(_RESPONSE * bank.rate)) // _BLOCK) * _BLOCK
    spectrum, filters = fft.rfft(samples, size), _responses(bank, size)
    starts = edges[:-1][edges[:-1] < len(samples)]
    sums = []
    for k in range(0, bank.channels, _AT_ONCE):
        bands = fft.irfft(spectrum * filters[k : k + _AT_ONCE], size)[:, : len(samples)]
        sums.append(np.add.reduceat(np.maximum(bands, 0, out=bands), starts, axis=1))
    means = np.concatenate(sums).T / np.diff(np.append(starts, len(samples)))[:, None]
    currents, loudest = np.zeros((frames, bank.channels), np.float32), means.max()
    if loudest > 0:
        level = 20 * np.log10(np.maximum(means / loudest, 1e-12))
        currents[: len(starts)] = np.clip(1 + level / bank.decibels, 0, 1)
    return currents


@lru_cache(64)
def _responses(bank: Bank, size: int) -> np.ndarray:
    """The filters' frequency responses [channels, size // 2 + 1], of gain 1 at their centres."""
    time = np.arange(round(_RESPONSE * bank.rate)) / bank.rate
    frequency = centres(bank)[:, None]
    width = 1.019 * 24.7 * (4.37e-3 * frequency + 1)
    response = time**3 * np.exp(-2 * np.pi * width * time) * np.cos(2 * np.pi * frequency * time)
    gain = np.abs((response * np.exp(-2j * np.pi * frequency * time)).sum(1, keepdims=True))
    return fft.rfft((response / gain).astype(np.float32), size)
